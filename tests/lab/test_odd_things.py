"""One odd object on a real host is unknown or reported as it is; all others are seen."""

import asyncio
import re
from collections.abc import Iterator

import pytest

from controller.model.facts import Known, NodeFacts
from controller.model.units import is_memory_of, parse_memory_bytes
from controller.providers.linux.estate import ANSWER_S, HOST_SECTIONS, question_command
from controller.providers.linux.fact_cache import FactCache
from controller.providers.linux.facts import parse_answer
from controller.providers.linux.program import load_program
from controller.transport.ssh import SshTransport
from tests.lab.lab import Lab, render_guest
from tests.lab.replica.replication import endpoints
from tests.lab.witness import IMAGES

HOST = "paris-2"
NAME = "odd one\u2028two"
PREPARE = f"""
set -e
qemu-img create -q -f qcow2 {IMAGES}/odd.qcow2 1M
mkdir /tmp/gone
virsh -q pool-define-as gone dir --target /tmp/gone
virsh -q pool-start gone
rmdir /tmp/gone
"""
CLEAN = f"""
virsh -q destroy '{NAME}' 2>/dev/null; virsh -q undefine '{NAME}' 2>/dev/null
virsh -q pool-destroy gone; virsh -q pool-undefine gone
rm -f {IMAGES}/odd.qcow2
true
"""


@pytest.fixture(name="host")
def host_fixture(lab: Lab) -> Iterator[Lab]:
    """The lab with a host on which a pool has lost its folder and a VM has an odd name and size."""
    lab.exec(HOST, "sh", "-c", CLEAN)
    lab.exec(HOST, "sh", "-c", PREPARE)
    define(lab, "1GB")
    yield lab
    lab.exec(HOST, "sh", "-c", CLEAN)


def define(lab: Lab, memory: str) -> None:
    """Define the odd one with the memory that a spec would declare; it is plugged in nowhere."""
    text = render_guest("name", "52:54:00:0d:0d:01", 10, f"{IMAGES}/odd.qcow2", "qcow2",
                        system=False)
    text = re.sub("<interface.*</interface>", "", text)
    text = text.replace(">name<", f">{NAME}<").replace(
        '<memory unit="MiB">128<', f'<memory unit="KiB">{parse_memory_bytes(memory) >> 10}<')
    uuid = lab.exec(HOST, "sh", "-c", f"virsh -q domuuid '{NAME}' 2>/dev/null || true").strip()
    if uuid:
        text = text.replace("<name>", f"<uuid>{uuid}</uuid><name>")
    lab.exec(HOST, "virsh", "-q", "define", "/dev/stdin", text=text)


def look() -> NodeFacts:
    """What one poll of the host says."""
    async def asked() -> NodeFacts:
        transport = SshTransport()
        transport.declare(endpoints())
        memory = FactCache(HOST, HOST_SECTIONS)
        try:
            question = question_command(HOST_SECTIONS, {})
            text = await transport.ask(HOST, load_program("facts.py"), question, ANSWER_S)
        finally:
            await transport.close()
        return memory.learn(parse_answer(text), 0.0, 0.0).value
    return asyncio.run(asked())


def test_a_pool_without_its_folder_is_unknown_and_all_else_is_seen(host: Lab) -> None:
    facts = look()
    assert isinstance(facts.pools, Known)
    assert "cannot be read: No such file or directory" in facts.pools.value["gone"].unknown
    assert {name for name, pool in facts.pools.value.items() if pool.unknown} == {"gone"}
    assert isinstance(facts.domains, Known)
    assert {domain.unknown for domain in facts.domains.value.values()} == {""}
    assert NAME in facts.domains.value
    assert isinstance(facts.replicas, Known)
    assert isinstance(facts.leftovers, Known)


def memory_of() -> int:
    """What the running guest has, as it is seen."""
    facts = look()
    assert isinstance(facts.domains, Known)
    live = facts.domains.value[NAME].live
    assert live is not None
    return live.memory_bytes


@pytest.mark.parametrize("declared", ["1GB", "900MB", "700.5MB"])
def test_a_guest_has_the_memory_that_is_declared_as_nearly_as_qemu_gives_it(
        host: Lab, declared: str) -> None:
    define(host, declared)
    host.virsh(HOST, "start", NAME)
    try:
        assert is_memory_of(memory_of(), parse_memory_bytes(declared))
    finally:
        host.virsh(HOST, "destroy", NAME)
