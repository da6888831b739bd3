"""Every domain and pool of libvirt's own tests is imported: managed, or observed with its reason.
"""

import re
import sys
from collections import Counter
from collections.abc import Mapping
from html import unescape
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

import pytest

from controller.adoption.propose import Proposal, propose
from controller.adoption.reading import Login, Reading, Request
from controller.model.facts import Known, PoolFacts
from controller.providers.libvirt.facts import parse_pools
from controller.reconcile.importing import definition
from controller.source.load import load_folder
from tests.adoption.estates import GIB, Guest, ImportShell, Kvm
from tests.adoption.libvirt_source import DOMAINS, POOLS, NotToBeHad, texts

ROOT = Path(__file__).parent.parent.parent
REQUEST = Request("estate", Login("root", "/k", "/known"))


PATH = re.compile(r"""<source [^>]*?\b(?:file|dev)=(?:'([^']*)'|"([^"]*)")""")


@pytest.fixture(scope="module")
def domains() -> dict[str, str]:
    """Each domain by its name; the tests are skipped where libvirt's source is not to be had."""
    try:
        found = dict(texts(DOMAINS))
    except NotToBeHad as why:
        pytest.skip(f"libvirt's source package is not to be had: {why}")
    assert len(found) > 1000
    return found


def guest(name: str, xml: str, number: int) -> Guest:
    """A domain that libvirt lists under a name and UUID of its own."""
    sizes: dict[str, int | None] = {unescape(one or other): GIB for one, other in PATH.findall(xml)}
    return Guest(f"{Path(name).stem}_{number}", number, xml=xml, running=False,
                 uuid=str(uuid5(NAMESPACE_URL, name)), sizes=sizes)


def proposal_of(host: Kvm) -> Proposal:
    """What an import of one host proposes."""
    definitions = {one.row()["uuid"]: definition(one.text(live=False)) for one in host.guests}
    return propose([Reading("kvm1", host.address, host.facts("kvm1"), definitions)], REQUEST)


def write(proposal: Proposal, folder: Path) -> None:
    """Write what is proposed."""
    for name, text in proposal.files().items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def test_each_domain_alone_is_written_as_valid_specs_or_told(domains: Mapping[str, str],
                                                             tmp_path: Path) -> None:
    fates: Counter[str] = Counter()
    for number, (name, xml) in enumerate(domains.items()):
        proposal = proposal_of(Kvm("10.0.0.11", "kvm1", [guest(name, xml, number)]))
        folder = tmp_path / str(number)
        write(proposal, folder)
        machines = load_folder(folder).virtual_machines
        assert len(machines) == len(proposal.machines)
        assert machines or any("domain" in one.what for one in proposal.observed), name
        assert all(one.why for one in proposal.observed), name
        fates["declared" if machines else "only observed"] += 1
        fates["with disks"] += any(vm.spec.disks for vm in machines.values())
    assert fates["with disks"] > 0.4 * len(domains), fates
    assert fates["declared"] > 0.9 * len(domains)


def test_all_domains_at_once_are_imported_with_an_empty_plan(domains: Mapping[str, str],
                                                             tmp_path: Path) -> None:
    guests = [guest(name, xml, number) for number, (name, xml) in enumerate(domains.items())]
    shell = ImportShell(tmp_path, Kvm("10.0.0.11", "kvm1", guests))
    done = shell()
    assert done.exit_code in {0, 5}, done.output[-4000:]
    assert len(load_folder(shell.out).virtual_machines) > 0.9 * len(domains)


def test_every_pool_is_declared_or_told() -> None:
    sys.path.insert(0, str(ROOT / "controller/remote"))
    import json

    import pools

    try:
        found = dict(texts(POOLS))
    except NotToBeHad as why:
        pytest.skip(f"libvirt's source package is not to be had: {why}")
    rows = [pools.pool_of(Path(name).stem, xml, False) for name, xml in found.items()]
    parsed: Mapping[str, PoolFacts] = parse_pools(json.dumps(rows))
    assert len(parsed) == len(found) > 30
    host = Kvm("10.0.0.11", "kvm1", pools=parsed)
    proposal = proposal_of(host)
    told = {one.what.removeprefix("pool ") for one in proposal.observed}
    facts = host.facts("kvm1")
    assert isinstance(facts, Known)
    text = proposal.files()["hosts.yaml"]
    assert all(name in told or f"name: {name}" in text for name in parsed)
