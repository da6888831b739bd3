"""One document with one mistake: its place, and the message for it."""

from pathlib import Path

import pytest

from controller.errors import SpecError
from controller.source.load import load_folder

ESTATE = "kind: Estate\nmetadata: {name: e}\nspec: {ssh: {keyFile: /k, knownHosts: /h}}\n"


def problems_of(folder: Path, text: str | bytes, name: str = "a.yaml") -> list[str]:
    """Everything that is said about a folder with an Estate and one file with `text`."""
    (folder / "estate.yaml").write_text(ESTATE)
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    try:
        load_folder(folder)
    except SpecError as error:
        return list(error.problems)
    return []


SITE = "kind: Site\nmetadata: {name: %s}\n"
VM = "kind: VirtualMachine\nmetadata: {name: v}\nspec:\n  memory: 1GiB\n  %s\n"
HOST = "kind: Host\nmetadata: {name: h}\nspec:\n  site: s\n  address: a\n  %s\n---\n" + SITE % "s"

MISTAKES = {
    "a number as a name": (
        SITE % "1e3",
        (
            "a.yaml:2:18: `name` must be text, and YAML reads this as the number 1000.0: put it "
            "in quotes"
        ),
    ),
    "an unknown field": (
        VM % "memry: 2GiB",
        "a.yaml:5:3: unknown field `memry`: write `memory`, or remove it",
    ),
    "a field of another language": (
        VM % "start_order: 3",
        "a.yaml:5:3: unknown field `start_order`: write `startOrder`, or remove it",
    ),
    "a field too far left": (
        "power: on\n" + VM % "cpus: 1",
        "a.yaml:1:1: `power` stands too far left: write it below `spec:`",
    ),
    "an unknown kind": (
        "kind: Hots\nmetadata: {name: h}\n",
        "a.yaml:1:7: unknown kind `Hots`: write `Host`",
    ),
    "no kind": (
        "metadata: {name: h}\n",
        (
            "a.yaml:1:1: `kind` is missing: write one of Estate, Site, Switch, InterSiteLink, "
            "Host, Network, VirtualMachine, ProtectionPolicy, Witness"
        ),
    ),
    "a missing field": (
        "kind: VirtualMachine\nmetadata: {name: v}\nspec: {cpus: 1}\n",
        "a.yaml:3:7: `memory` is missing: add `memory: 2GiB`",
    ),
    "a truth value as power": (
        VM % "power: true",
        "a.yaml:5:10: `power: true` is not known: write `on`",
    ),
    "a fraction of a processor": (
        VM % "cpus: 1.5",
        "a.yaml:5:9: `cpus` must be a whole number, not the number 1.5: write `cpus: 2`",
    ),
    "a number with a zero in front": (
        VM % "cpus: 012",
        "a.yaml:5:9: `cpus` must be a whole number, not `012`: write `cpus: 12`",
    ),
    "too many processors": (
        VM % "cpus: 5000",
        "a.yaml:5:9: `cpus` is out of range: write at most 512",
    ),
    "an enormous number": (
        VM % "cpus: 99999999999999999999",
        "a.yaml:5:9: the number is too large: if it is meant as text, put it in quotes",
    ),
    "a size without a unit": (
        VM % "disks: [{name: vda, size: 40}]",
        "a.yaml:5:29: `size`: needs a unit: write it like 40GiB",
    ),
    "an unknown unit": (
        VM % "shutdownLimit: 2min",
        (
            "a.yaml:5:18: `shutdownLimit`: '2min' is not understood: write it like 5m (units: "
            "ms, s, m, h, d)"
        ),
    ),
    "a duration too short": (
        "kind: ProtectionPolicy\nmetadata: {name: p}\nspec: {rpo: 1s}\n",
        "a.yaml:3:13: `rpo` is out of range: write at least 10s",
    ),
    "a multicast MAC": (
        VM % "nics: [{network: n, mac: 53:54:00:12:34:56}]",
        (
            "a.yaml:5:28: `mac`: 53:54:00:12:34:56 is a multicast address: make the first byte "
            "even"
        ),
    ),
    "yes for a truth value": (
        HOST % "maintenance: yes",
        (
            "a.yaml:6:16: `maintenance` must be `true` or `false`, not `yes`: write `true` or "
            "`false`"
        ),
    ),
    "a word for a list": (
        HOST % "uplinks: up0",
        "a.yaml:6:12: `uplinks` must be a list, not `up0`: write a list",
    ),
    "a password in a URL": (
        HOST % "bmc: {url: 'https://a:b@c', credentials: {env: X}}",
        (
            "a.yaml:6:14: `url: https://a:b@c` is not valid: write an address that begins with "
            "https:// and holds no password"
        ),
    ),
    "control characters in a name": (
        'kind: Site\nmetadata: {name: "a\\e[2Jb"}\n',
        (
            "a.yaml:2:18: `name: a\\x1b[2Jb` is not valid: write small letters, digits, `-` and "
            "`.`, at most 63, first and last a letter or digit"
        ),
    ),
    "another version": (
        "apiVersion: hotsite/v2\n" + SITE % "s",
        (
            "a.yaml:1:13: `apiVersion: hotsite/v2` is not known: write `hotsite/v1` or leave it "
            "out"
        ),
    ),
    "nothing": (
        SITE % "s" + "---\n---\n" + SITE % "t",
        "a.yaml:3:1: an empty document: remove the extra `---` or fill it in",
    ),
    "a list": (
        "- a\n",
        (
            "a.yaml:1:1: a list where a document should be: write `kind:`, `metadata:` and "
            "`spec:`"
        ),
    ),
    "text": (
        "hello\n",
        "a.yaml:1:1: text where a document should be: write `kind:`, `metadata:` and `spec:`",
    ),
    "host bits in a subnet": (
        (
            "kind: Network\n"
            "metadata: {name: n}\n"
            "spec: {vlan: 2, sites: [s], subnet: 10.0.0.1/24}\n"
        ),
        (
            "a.yaml:3:37: `subnet` must be a subnet such as 10.2.0.0/24, not `10.0.0.1/24`: "
            "write `subnet: 10.2.0.0/24`"
        ),
    ),
    "a switch port to nowhere": (
        "kind: Switch\nmetadata: {name: w}\nspec: {site: s, address: a, ports: [{name: p}]}\n",
        (
            "a.yaml:3:37: `ports[0]`: a port leads to a host or is a member of a link: write one "
            "of `host:` and `link:`"
        ),
    ),
}


@pytest.mark.parametrize("what", MISTAKES)
def test_a_mistake_is_told_with_its_place_and_what_to_write(tmp_path: Path, what: str) -> None:
    text, expected = MISTAKES[what]
    assert expected in problems_of(tmp_path, text)


@pytest.mark.parametrize(("text", "power"), [("on", "on"), ("off", "off")])
def test_on_and_off_are_words(tmp_path: Path, text: str, power: str) -> None:
    folder = tmp_path
    (folder / "all.yaml").write_text(
        f"{ESTATE}---\n{HOST % 'uplinks: [up0]'}---\n{VM % f'power: {text}'}")
    assert load_folder(folder).virtual_machines["v"].spec.power == power


def test_values_are_what_they_look_like(tmp_path: Path) -> None:
    labels = "{a: no, b: 012, c: 52:54:00:12:34:56, d: 2026-11-23, e: '1e3', f: 1_000}"
    (tmp_path / "a.yaml").write_text(
        f"{ESTATE}---\nkind: Site\nmetadata:\n  name: s\n  labels: {labels}\n")
    assert load_folder(tmp_path).sites["s"].metadata.labels == {
        "a": "no", "b": "012", "c": "52:54:00:12:34:56", "d": "2026-11-23", "e": "1e3",
        "f": "1_000"}


def test_every_mistake_of_every_file_is_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.yml").write_text(VM % "cpus: many")
    (tmp_path / "c.json").write_text('{"kind": "Site", "metadata": {"name": "X"}}')
    found = problems_of(tmp_path, (VM % "cpu: 1") + "---\na: [\n---\n" + VM % "memroy: 3GiB")
    assert [problem.split(": ")[0] for problem in found] == [
        "a.yaml:5:3", "a.yaml:8:1", "a.yaml:13:3", "c.json:1:39", "sub/b.yml:5:9"]


def test_very_many_mistakes_are_counted(tmp_path: Path) -> None:
    found = problems_of(tmp_path, "---\n".join([SITE % "A"] * 250))
    assert len(found) == 101
    assert found[-1] == "... and 150 more"
