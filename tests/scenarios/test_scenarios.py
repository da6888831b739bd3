"""Scenarios, a folder each: faults of the estate, and the log that the loop must then write.

Add one by writing its README and commands; run with UPDATE=1 to write log.expect; then read it.

A line of `commands` is an instant in seconds and one of: a fault of the simulated estate;
`edit FILE: OLD -> NEW` or `write FILE: TEXT` (specs, committed at once); `call KIND OLD NEW` (the
same, wherever it is named, with `formerly`); `suspend TARGET SECONDS`,
`resume TARGET`; `failover TARGET [planned] [loss]`, `failback TARGET`, `confirm-fenced HOST`;
`approve ACTION` (of this revision); `ping VM VM`; `wipe` (the controller and all
it has stored are gone, and a new one begins with nothing); `controller stops`, and `controller
starts` with all that is stored; `fetch fails` (the repository of the specs cannot be reached);
`controller clock SECONDS` (somebody sets its clock by so much); `standby begins` (a second one);
`lease cut|join` (whether the first reaches the place of the lease); `end`. A first line
`estate PATH` names other specs than those of the lab; `autonomy RUNG` overrides the estate's;
`place NAME` is where the controller stands, and lets VMs fail over by themselves;
`inside VM` has the first controller run in that VM; `lease TTL` declares one, after `place`;
`healthy HEALTH` declares what proves that VMs serve; `moves MOVE` how they are moved;
`replicas of VM [VM…]` leaves those VMs protected: in all other scenarios nobody is, so that each
is about one thing.
"""

import logging
import os
from pathlib import Path

import pytest

from controller.providers.simulated.virtual_time import run_virtual
from tests.scenarios.play import Play
from tests.scenarios.specs import prepared

SCENARIOS = sorted(path for path in Path(__file__).parent.iterdir()
                   if (path / "commands").is_file())


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_the_loop_writes_this_log(folder: Path, tmp_path: Path) -> None:
    logging.getLogger("hotsite").setLevel(logging.CRITICAL)
    specs, commands, settings = prepared(folder, tmp_path)

    async def whole() -> str:
        return await Play(specs, tmp_path, settings).play(commands)

    log = run_virtual(whole())
    expect = folder / "log.expect"
    if os.environ.get("UPDATE"):
        expect.write_text(log)
    assert log == expect.read_text()


@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda folder: folder.name)
def test_every_scenario_says_what_it_is_about(folder: Path) -> None:
    assert (folder / "README").read_text().strip()
    assert (folder / "commands").read_text().splitlines()[-1].endswith(" end")
