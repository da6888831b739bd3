"""A branch in real git with a break-glass over it, without a loop: what is declared, and when."""

import asyncio
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from controller.model.desired import Desired
from controller.reconcile.break_glass.proposal import Proposal, begin, copy, propose
from controller.reconcile.break_glass.source import GlassSource
from controller.source.git.address import parse_git_address
from controller.source.git.repository import GitSource
from controller.store.store import Store
from tests.source.git.repository import ESTATE, Repository

HOST = """\
kind: Host
metadata: {name: kvm%d}
spec: {site: paris, address: 10.0.0.%d, driver: none}
"""
VM = """\
# {name}: who calls whom is in the wiki
kind: VirtualMachine
metadata: {{name: {name}}}
spec:
  cpus: {cpus}
  memory: {memory}
  placement: {{site: paris}}
"""
HOUR_S = 3600.0
NOON = 1_800_000_000.0


def vm(name: str, memory: str = "1GiB", cpus: int = 1) -> str:
    """Return the document of a VM."""
    return VM.format(name=name, memory=memory, cpus=cpus)


@dataclass
class Branch:
    """A repository, a controller's state, and a clock that is set by hand."""

    repository: Repository
    state: Path
    store: Store
    wall: float = NOON
    steady: float = 0.0
    folder: str = ""
    copies: int = 0
    source: GlassSource = field(init=False)
    said: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """Start the controller, or start it again."""
        address = self.repository.address + (f":{self.folder}" if self.folder else "")
        branch = GitSource(parse_git_address(address), self.state)
        self.source = GlassSource(branch, self.store, lambda: self.wall, lambda: self.steady)
        self.source.tell = self.said.append

    def load(self) -> Desired:
        """Return what is declared now."""
        return asyncio.run(self.source.load())

    def memory(self, name: str) -> int:
        """Return the memory that a VM is declared with now, in MiB."""
        return self.load().virtual_machines[name].spec.memory_bytes >> 20

    def passes(self, span_s: float) -> None:
        """Let time pass."""
        self.wall += span_s
        self.steady += span_s

    def go_down(self) -> None:
        """Take the forge away."""
        self.repository.bare.rename(self.repository.bare.with_name("gone"))

    def come_back(self) -> None:
        """Give it back."""
        self.repository.bare.with_name("gone").rename(self.repository.bare)

    def copied(self) -> Path:
        """Return a new copy of the specs in force."""
        self.copies += 1
        folder = self.state.parent / f"copy-{self.copies}"
        copy(self.source.branch, self.store, folder)
        return folder

    def proposed(self, folder: Path, span_s: float = 4 * HOUR_S) -> Proposal:
        """Return what ann's folder would put in force."""
        return asyncio.run(propose(self.source.branch, folder, "ann", "the forge is down", span_s,
                                   self.wall))

    def breaks(self, edit: Callable[[Path], object], span_s: float = 4 * HOUR_S) -> Proposal:
        """Let ann copy the specs, edit them, and put them in force."""
        folder = self.copied()
        edit(folder)
        proposal = self.proposed(folder, span_s)
        begin(self.store, proposal.glass, self.wall)
        return proposal

    def applies(self, patch: str) -> None:
        """Apply a patch in the clone, as a person does in the morning."""
        subprocess.run(["git", "apply", "--index", "-"], cwd=self.repository.clone, check=True,
                       input=patch.encode(), capture_output=True)


@pytest.fixture
def played(repository: Repository, tmp_path: Path) -> Branch:
    """Return a branch with two VMs in one file and one in another, loaded once."""
    repository.commit(estate=ESTATE, host=HOST % (1, 1), second=HOST % (2, 2),
                      vms=f"{vm('sql')}---\n{vm('web')}", more__mail=vm("mail"))
    found = Branch(repository, tmp_path / "state", Store.open(tmp_path / "state" / "state.db",
                                                             exclusive=True))
    found.load()
    return found


def writes(name: str, old: str, new: str) -> Callable[[Path], object]:
    """Return an edit of one file: each `old` becomes `new`."""
    def edit(folder: Path) -> None:
        path = folder / name
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return edit
