"""Failover that could not be safe, or could never happen, is refused at its place."""

from pathlib import Path

import pytest

from tests.source.check.sound import SOUND
from tests.source.check.test_check import problems_of

ESTATE = "spec: {ssh: {keyFile: /k, knownHosts: /h}}"
WITNESS = "kind: Witness\nmetadata: {name: hq}\nspec: {address: 10.77.0.4, place: hq}\n"
INSIDE = WITNESS.replace("place: hq", "place: milan")
SAFE = (SOUND.replace(ESTATE, "spec: {ssh: {keyFile: /k, knownHosts: /h}, failover: {guard: "
                              "{keyFile: /g}}}")
        .replace("{rpo: 5m}", "{rpo: 5m, failover: automatic, isolation: stop}")
        .replace("  protection: gold\n", "  protection: gold\n  autostart: off\n")
        .replace("  address: 10.77.0.11\n", "  address: 10.77.0.11\n  watchdog: /dev/watchdog0\n")
        + f"---\n{WITNESS}")

NUMBERS = {
    "guard: {deadline: 2s}": (
        "3:73: a guard asks each second, so with less than 3s two lost"
        " datagrams would end guests: raise it"),
    "guard: {watchdog: 1s}": (
        "3:73: a watchdog of 1s that is fed each 1s cuts the power of a"
        " host that is well: feed it several times in its time"),
    "guard: {feed: 9s}": (
        "3:69: a watchdog of 8s that is fed each 9s cuts the power of a"
        " host that is well: feed it several times in its time"),
    "guard: {wait: 30s}": (
        "3:69: a host could still run guests after 30s: write at least"
        " 35.7s, or leave it out"),
    "lease: {driver: witness, endpoints: ['https://a:1']}": (
        "3:91: `endpoints` are those of etcd: write `driver: etcd`, or leave them out"),
    "lease: {driver: witness}": (
        "3:62: the lease lies at a witness, and none is declared: declare a Witness, or"
        " write `driver: etcd`"),
    "lease: {driver: etcd}": (
        "3:62: etcd decides by majority, and 0 member(s) give none that outlives one of"
        " them: write three or five different endpoints"),
    "lease: {driver: etcd, endpoints: ['https://a:1', 'https://b:1']}": (
        "3:88: etcd decides by majority, and 2 member(s) give none that outlives one of"
        " them: write three or five different endpoints"),
    "lease: {driver: etcd, endpoints: ['https://a:1', 'https://a:1', 'https://b:1']}": (
        "3:88: etcd decides by majority, and 2 member(s) give none that outlives one of"
        " them: write three or five different endpoints"),
    "lease: {driver: etcd, endpoints: ['https://a', 'https://b', 'https://c'], keyFile: /x}": (
        "3:138: a certificate and its key belong together: write both, or neither"),
    "lease: {driver: etcd, endpoints: ['https://a', 'https://b', 'https://c'], credentials: {}}": (
        "3:142: credentials are read from one place: write `file:` or `env:`, and not"
        " both"),
}


def failing(failover: str) -> str:
    """The sound estate with these words on failover."""
    return SOUND.replace(ESTATE, ESTATE[:-1] + ", failover: {" + failover + "}}")


@pytest.mark.parametrize("words", NUMBERS)
def test_numbers_and_leases_that_cannot_work_are_told(tmp_path: Path, words: str) -> None:
    assert f"a.yaml:{NUMBERS[words]}" in problems_of(tmp_path, failing(words))


@pytest.mark.parametrize("words", [
    "guard: {wait: 36s}", "guard: {deadline: 3s}", "guard: {watchdog: 10s, feed: 2s}",
    "lease: {driver: etcd, endpoints: ['https://a', 'https://b', 'https://c']}",
    "guard: {keyFile: /g}"])
def test_numbers_and_leases_that_work_pass(tmp_path: Path, words: str) -> None:
    assert problems_of(tmp_path, failing(words)) == []


@pytest.mark.parametrize(("other", "told"), [("{site: milan}", True), ("{host: milan-1}", True),
                                             ("{site: paris}", False), ("{}", False)])
def test_a_group_of_which_a_lost_site_takes_only_a_part_is_told(tmp_path: Path, other: str,
                                                                told: bool) -> None:
    place = "  placement: {site: paris}\n"
    text = SOUND.replace(place, f"{place}  group: shop\n")
    web = f"""---
kind: VirtualMachine
metadata: {{name: web}}
spec:
  memory: 1GiB
  disks: [{{name: vda, size: 1GiB}}]
  nics: [{{network: office, mac: 52:54:00:12:34:99}}]
  placement: {other}
  group: shop
"""
    found = [one for one in problems_of(tmp_path, text + web) if "of the same group" in one]
    assert len(found) == told


def test_a_watchdog_makes_the_least_wait_longer(tmp_path: Path) -> None:
    text = failing("guard: {wait: 36s}").replace(
        "  address: 10.77.0.11\n", "  address: 10.77.0.11\n  watchdog: /dev/watchdog0\n")
    assert problems_of(tmp_path, text) == [
        "a.yaml:3:69: a host could still run guests after 36s: write at least 44.8s, or leave it"
        " out"]


def test_a_guard_whom_nobody_but_the_controller_grants_is_told(tmp_path: Path) -> None:
    alone = (
        f"kind: Estate\nmetadata: {{name: e}}\n{ESTATE[:-1]}, failover: {{guard: {{keyFile: /g}}"
        "}}\n---\nkind: Site\nmetadata: {name: paris}\nspec: {}\n---\nkind: Host\n"
        "metadata: {name: paris-1}\nspec: {site: paris, address: a}\n")
    said = ("a.yaml:3:72: no witness and no host of another site could grant to a guard, so guests"
            " would end with the controller: declare a Witness, or leave `keyFile` out")
    assert said in problems_of(tmp_path, alone)
    assert problems_of(tmp_path, f"{alone}---\n{WITNESS}") == []


def test_automatic_failover_that_is_safe_passes(tmp_path: Path) -> None:
    assert problems_of(tmp_path, SAFE) == []


UNSAFE = {
    "no witness": (f"---\n{WITNESS}", "", "51:27: nobody but the controller could say that a site"
                   " is gone: declare a Witness at a third place, or write `failover: confirm`"),
    "a witness inside a site": (
        WITNESS, INSIDE, "51:27: nobody but the controller could say that a site is gone: witness"
        " `hq` is at site `milan`, which makes it a part of that site's view and no second one;"
        " declare a Witness at a third place, or write `failover: confirm`"),
    "no guard": (
        ", failover: {guard: {keyFile: /g}}", "", "51:27: a site that is cut off would go on"
        " running its VMs: set `failover.guard.keyFile` of the Estate, or write `failover:"
        " confirm`"),
    "nothing against a freeze": (
        "  watchdog: /dev/watchdog0\n", "", "25:18: `sql` fails over by itself, and a host without"
        " BMC and watchdog can run it again once it thaws: declare `bmc` or `watchdog`, or write"
        " `acceptFreeze: true`"),
    "VMs that go on": (
        "isolation: stop", "isolation: run", "51:49: host `paris-1` has no BMC and lets `sql` run"
        " where it is cut off, so it could never fail over by itself: write `isolation: stop`, or"
        " `failover: confirm`"),
    "VMs that go on by default": (
        ", isolation: stop", "", "51:27: host `paris-1` has no BMC and lets `sql` run where it is"
        " cut off, so it could never fail over by itself: write `isolation: stop`, or `failover:"
        " confirm`"),
}


@pytest.mark.parametrize("what", UNSAFE)
def test_automatic_failover_that_cannot_be_safe_is_told(tmp_path: Path, what: str) -> None:
    old, new, expected = UNSAFE[what]
    assert SAFE.count(old) == 1
    assert problems_of(tmp_path, SAFE.replace(old, new)) == [f"a.yaml:{expected}"]


@pytest.mark.parametrize(("old", "new"), [
    ("  watchdog: /dev/watchdog0\n", "  acceptFreeze: true\n"),
    ("  watchdog: /dev/watchdog0\n",
     "  bmc: {url: 'https://b', credentials: {file: /f}}\n"),
    ("failover: automatic, isolation: stop", "failover: confirm")])
def test_what_a_person_declared_or_decides_passes(tmp_path: Path, old: str, new: str) -> None:
    assert problems_of(tmp_path, SAFE.replace(old, new)) == []
