"""Contradictions between documents: each is reported at its place, and nothing else is."""

from pathlib import Path

import pytest

from controller.errors import SpecError
from controller.source.load import load_folder
from tests.source.check.sound import SOUND

EXTRA_HOST = "kind: Host\nmetadata: {name: %s}\nspec: {site: paris, address: %s%s}\n"
EXTRA_NETWORK = "kind: Network\nmetadata: {name: n}\nspec: {vlan: %s, sites: [paris]%s}\n"
BMC = ", bmc: {url: 'https://b', credentials: {%s}}"

EDITS = {
    "a site that is not": (
        "site: paris\n  address: 10.77.0.11",
        "site: pariss\n  address: x",
        "27:9: there is no Site `pariss`: write `paris`",
    ),
    "a twin that is not": (
        "{twin: milan}",
        "{twin: rome}",
        "7:14: there is no Site `rome`: write one of milan, paris",
    ),
    "a twin of its own": (
        "{twin: milan}",
        "{twin: paris}",
        "7:14: a site cannot be its own twin: name the other site",
    ),
    "a twin one way": (
        "{name: milan}\nspec: {twin: paris}",
        "{name: milan}",
        "7:14: site `milan` names none as its twin: write `twin: paris` there (a.yaml:9)",
    ),
    "a link with one end": (
        "[paris, milan], members: 2",
        "[paris, paris], members: 2",
        "15:17: a link joins two sites: name two different ones",
    ),
    "more members needed than are": (
        "members: 2}",
        "members: 2, minimumMembers: 3}",
        "15:61: 3 of 2 members can never be up: write at most 2",
    ),
    "a member that is not": (
        "metro/2",
        "metro/3",
        "22:55: link `metro` has 2 member(s): write a number up to that, or raise `members`",
    ),
    "a member twice": (
        "metro/2",
        "metro/1",
        (
            "22:55: member metro/1 is at port paris-sw/t0 already: number each member once per "
            "site"
        ),
    ),
    "a link that is not": (
        "metro/2",
        "metr/2",
        "22:55: there is no InterSiteLink `metr`: write `metro`",
    ),
    "a port name twice": (
        "name: t1",
        "name: t0",
        "22:45: a second port `t0`: rename one",
    ),
    "a port to no host": (
        "host: paris-1",
        "host: paris-2",
        "22:82: there is no Host `paris-2`: write `paris-1`",
    ),
    "a port to another site": (
        "host: paris-1",
        "host: milan-1",
        (
            "22:82: host `milan-1` is at site `milan`, this switch at `paris`: name a host of "
            "this site"
        ),
    ),
    "a host and a switch of one name": (
        "name: paris-sw",
        "name: milan-1",
        "18:18: a host is named `milan-1` too (a.yaml:32): rename one of them",
    ),
    "an address twice": (
        "10.77.1.11",
        "10.77.0.11",
        (
            "34:30: 10.77.0.11 is the address of `paris-1` (a.yaml:24) already: each node has "
            "its own"
        ),
    ),
    "a driver that nothing has for a switch": (
        "  address: 10.77.0.2",
        "  address: 10.77.0.2\n  driver: linuxbridge",
        (
            "22:11: a switch of `linuxbridge` cannot be driven yet: leave `paris-sw` out; hosts"
            " need no switch in the specs"
        ),
    ),
    "a pool twice": (
        "name: fast",
        "name: default",
        "29:35: a second pool `default`: remove or rename one",
    ),
    "a VLAN twice": (
        "vlan: 201",
        "vlan: 200",
        (
            "46:14: VLAN 200 is network `office` already (a.yaml:36): give `lab` a number of its "
            "own"
        ),
    ),
    "subnets that overlap": (
        "10.3.0.0/24",
        "10.2.0.128/25",
        (
            "46:43: 10.2.0.128/25 overlaps 10.2.0.0/24 of network `office` (a.yaml:36): change "
            "one"
        ),
    ),
    "a gateway elsewhere": (
        "10.2.0.254",
        "10.9.0.254",
        "42:22: 10.9.0.254 is not in 10.2.0.0/24: write an address of the subnet",
    ),
    "a gateway that is the subnet": (
        "10.2.0.254",
        "10.2.0.255",
        "42:22: 10.2.0.255 is the first or last of 10.2.0.0/24: write one in between",
    ),
    "a gateway by name": (
        "10.2.0.254",
        "router",
        "42:22: `router` is not an IP address: write one of the subnet",
    ),
    "a gateway without a subnet": (
        "  subnet: 10.2.0.0/24\n",
        "",
        "41:3: a gateway needs the subnet it is in: add `subnet:`",
    ),
    "a preferred site that is not spanned": (
        "preferred: paris",
        "preferred: pari",
        "42:55: the network does not span `pari`: write `paris`",
    ),
    "a site twice": (
        "sites: [milan]",
        "sites: [milan, milan]",
        "46:34: site `milan` stands here twice: remove one",
    ),
    "a network that is not": (
        "network: office",
        "network: ofice",
        "57:20: there is no Network `ofice`: write `office`",
    ),
    "a network of the other site": (
        "network: office",
        "network: lab",
        (
            "57:9: network `lab` does not reach any host at site `paris`: add the site to its "
            "`sites:` or choose another network"
        ),
    ),
    "a policy that is not": (
        "protection: gold",
        "protection: glod",
        "59:15: there is no ProtectionPolicy `glod`: write `gold`",
    ),
    "a host that is not": (
        "{site: paris}\n  prot",
        "{host: paris-7}\n  prot",
        "58:21: there is no Host `paris-7`: write `paris-1`",
    ),
    "a host at the other site": (
        "{site: paris}\n  prot",
        "{site: milan, host: paris-1}\n  prot",
        (
            "58:34: host `paris-1` is at site `paris`, not at `milan`: correct `site:` or leave "
            "it out"
        ),
    ),
    "a disk twice": (
        "size: 40GiB}",
        "size: 40GiB}, {name: vda, size: 1GiB}",
        "56:44: a second disk `vda`: rename one",
    ),
    "a protected VM with nothing to copy": (
        "size: 40GiB}",
        "size: 40GiB, replicate: false}",
        "59:15: none of its disks is replicated: leave `protection` out, or `replicate: false` of"
        " one disk",
    ),
    "too much memory": (
        "memory: 2GiB",
        "memory: 16GiB",
        "55:11: 16GiB is more than any host at site `paris` can give: write at most 15.5GiB",
    ),
    "too many processors": (
        "memory: 2GiB",
        "memory: 2GiB\n  cpus: 9",
        "56:9: 9 processors are more than any host at site `paris` has: write at most 8",
    ),
    "a time zone that is not": (
        "knownHosts: /h}}",
        (
            "knownHosts: /h}, windows: [{name: w, effect: deny, days: [sat], start: '22:00', "
            "duration: 4h, timezone: Europe/Pariss}]}"
        ),
        "3:131: no time zone `Europe/Pariss` is known: write one such as Europe/Paris",
    ),
    "a pause without a zone": (
        "spec: {rpo: 5m}",
        "spec: {rpo: 5m, suspend: {until: 2026-11-23T06:00:00, by: a, why: b}}",
        (
            "50:34: `until: 2026-11-23T06:00:00` has no time zone: write it like "
            "2026-11-23T06:00:00Z"
        ),
    ),
    "a pause until never": (
        "spec: {rpo: 5m}",
        "spec: {rpo: 5m, suspend: {until: never, by: a, why: b}}",
        "50:34: `until: never` is not an instant: write it like 2026-11-23T06:00:00Z",
    ),
    "a pause until a week": (
        "spec: {rpo: 5m}",
        "spec: {rpo: 5m, suspend: {until: 2026-W47-1T06:00:00Z, by: a, why: b}}",
        "50:34: `until: 2026-W47-1T06:00:00Z` is not an instant: write it like"
        " 2026-11-23T06:00:00Z",
    ),
    "a grant that can take effect nowhere": (
        "spec: {rpo: 5m}",
        "spec: {rpo: 5m, autonomy: start}",
        "50:27: `autonomy: start` can take effect nowhere: here it can only lower what hosts,"
        " sites, VMs and the Estate grant, and report is the most that any of them does: raise it"
        " there, or leave it out here",
    ),
    "a template that is not": (
        "protection: gold",
        "template: t.xml",
        (
            "59:13: template `t.xml` is not there: correct the path, which is relative to this "
            "file"
        ),
    ),
    "a template outside": (
        "protection: gold",
        "template: ../t.xml",
        (
            "59:13: template `../t.xml` is outside the folder of the specs: copy it into the "
            "folder"
        ),
    ),
    "a second estate": (
        "kind: Site\nmetadata: {name: paris}\nspec: {twin: milan}\n---\n",
        (
            "kind: Estate\n"
            "metadata: {name: f}\n"
            "spec: {ssh: {keyFile: /k, knownHosts: /h}}\n"
            "---\n"
            "kind: Site\n"
            "metadata: {name: paris}\n"
            "spec: {twin: milan}\n"
            "---\n"
        ),
        "6:18: a second Estate, first in a.yaml:1: keep one",
    ),
}
ADDITIONS = {
    "a name twice": (
        "kind: Site\nmetadata: {name: paris}\n",
        "62:18: a second Site `paris`, first in a.yaml:5: rename one of them",
    ),
    "a MAC twice": (
        (
            "kind: VirtualMachine\n"
            "metadata: {name: t}\n"
            "spec: {memory: 1GiB, nics: [{network: office, mac: 52:54:00:12:34:56}]}\n"
        ),
        "63:52: MAC 52:54:00:12:34:56 is taken by `sql` (a.yaml:52): choose another",
    ),
    "a vrid twice": (
        EXTRA_NETWORK % (202, (", subnet: 10.4.0.0/24, gateway: {address: 10.4.0.1, vrid: 20}")),
        "63:91: vrid 20 is used by network `office` at `paris` too: choose another",
    ),
    "no credentials": (
        EXTRA_HOST % ("x", "x", BMC % ""),
        "63:70: credentials are read from one place: write `file:` or `env:`, and not both",
    ),
    "credentials twice": (
        EXTRA_HOST % ("x", "x", BMC % "file: /f, env: E"),
        "63:70: credentials are read from one place: write `file:` or `env:`, and not both",
    ),
    "a pool that is nowhere": (
        (
            "kind: VirtualMachine\n"
            "metadata: {name: t}\n"
            "spec: {memory: 1GiB, disks: [{name: vda, size: 1GiB, pool: fats}]}\n"
        ),
        "63:29: no host in the estate has a pool `fats`: write `fast`",
    ),
    "a pool of the other site": (
        (
            "kind: VirtualMachine\n"
            "metadata: {name: t}\n"
            "spec: {memory: 1GiB, placement: {site: milan}, disks: [{name: vda, size: 1GiB, "
            "pool: fast}]}\n"
        ),
        "63:55: no host at site `milan` has a pool `fast`: write one of default",
    ),
    "a name that is a number": (
        "kind: VirtualMachine\nmetadata: {name: '12'}\nspec: {memory: 1GiB}\n",
        (
            "62:18: libvirt takes `12` for the number or uuid of another domain: write its `uuid:`,"
            " by which it is then found, or choose a name with other letters"
        ),
    ),
    "memory here and processors there": (
        "kind: VirtualMachine\nmetadata: {name: t}\nspec: {memory: 10GiB, cpus: 12}\n",
        "63:16: no host in the estate has both 10GiB and 12 processors: make it smaller",
    ),
    "more ports than uplinks": (
        (
            "kind: Switch\n"
            "metadata: {name: b}\n"
            "spec: {site: paris, address: b, ports: [{name: p, host: paris-1}]}\n"
        ),
        (
            "63:57: host `paris-1` has 1 uplink(s) and more ports lead to it: remove a port or "
            "declare the uplink"
        ),
    ),
}


def problems_of(folder: Path, text: str) -> list[str]:
    """Everything that is said about a folder whose one file holds `text`."""
    source = folder / "specs"
    source.mkdir(exist_ok=True)
    (source / "a.yaml").write_text(text)
    try:
        load_folder(source)
    except SpecError as error:
        return list(error.problems)
    return []


def test_the_sound_estate_is_valid(tmp_path: Path) -> None:
    assert problems_of(tmp_path, SOUND) == []


@pytest.mark.parametrize("what", EDITS)
def test_a_contradiction_is_told_at_its_place(tmp_path: Path, what: str) -> None:
    old, new, expected = EDITS[what]
    assert SOUND.count(old) >= 1
    found = problems_of(tmp_path, SOUND.replace(old, new, 1))
    assert f"a.yaml:{expected}" in found


@pytest.mark.parametrize("what", ADDITIONS)
def test_a_document_that_contradicts_the_others_is_told(tmp_path: Path, what: str) -> None:
    text, expected = ADDITIONS[what]
    assert problems_of(tmp_path, f"{SOUND}---\n{text}") == [f"a.yaml:{expected}"]


def test_an_invalid_object_is_not_missed_by_those_that_name_it(tmp_path: Path) -> None:
    text = SOUND.replace("rpo: 5m", "rpo: 5").replace("vlan: 200", "vlan: 0")
    found = problems_of(tmp_path, text)
    assert [problem.split(": ")[0] for problem in found] == ["a.yaml:39:9", "a.yaml:50:13"]


def test_an_unreadable_document_silences_only_what_depends_on_it(tmp_path: Path) -> None:
    found = problems_of(tmp_path, SOUND.replace("kind: Network", "kind Network", 1).replace(
        "vlan: 201", "vlan: 200").replace("{twin: milan}", "{twin: paris}"))
    assert any("its own twin" in problem for problem in found)
    assert not any("there is no Network" in problem for problem in found)


def test_two_hosts_may_share_a_bmc_only_as_two_systems_behind_it(tmp_path: Path) -> None:
    bmc = BMC % "file: /f"
    named = [bmc.replace("{url", f"{{system: node-{number}, url") for number in (1, 2)]
    for first, second, told in ((bmc, bmc, 1), (named[0], named[1], 0), (named[0], named[0], 1)):
        hosts = [EXTRA_HOST % (f"x{number}", f"x{number}", one)
                 for number, one in enumerate((first, second))]
        found = problems_of(tmp_path, "---\n".join((SOUND, *hosts)))
        assert len([one for one in found if "or is another `system` behind it" in one]) == told
