"""`hotsite demo`: every fault heals, the same seed tells the same story, and it can be watched."""

import asyncio
import json
from io import StringIO
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from controller.cli.app import build
from controller.cli.demo import _play, talk_estate
from controller.cli.view.demo_screen import Plain, Screen
from controller.cli.view.demo_script import ACTS, LOST_AND_FOUND
from controller.cli.view.demo_table import closing_table
from controller.model.units import render_duration
from controller.providers.simulated.virtual_time import run_virtual
from controller.reconcile.rehearsal import Act, Rehearsal, Scene, to_json


@pytest.fixture(scope="module")
def whole() -> tuple[str, list[str]]:
    """What the whole demo says as JSON, and what it says where nobody watches; it is played once.
    """
    out = StringIO()
    shell = Console(file=out, highlight=False, markup=False, emoji=False, soft_wrap=True)
    scenes = _play(talk_estate(), 1, 0.0, Plain(shell))
    closing_table(shell, scenes)
    return (json.dumps({"faults": [to_json(scene) for scene in scenes]}),
            out.getvalue().rstrip().splitlines())


@pytest.fixture(scope="module")
def told(whole: tuple[str, list[str]]) -> str:
    """The JSON."""
    return whole[0]


@pytest.fixture(scope="module")
def lines(whole: tuple[str, list[str]]) -> list[str]:
    """The lines."""
    return whole[1]


def test_the_verb_tells_the_same_story_as_json_and_as_lines(
        monkeypatch: pytest.MonkeyPatch) -> None:
    acts = ACTS[:1]
    monkeypatch.setattr("controller.cli.view.demo_script.ACTS", acts)
    as_json, as_lines = (CliRunner().invoke(build(), ["demo", *words])
                         for words in (["--json"], ["--seed", "1"]))
    assert as_json.exit_code == as_lines.exit_code == 0, as_json.output
    faults = json.loads(as_json.output)["faults"]
    assert [one["fault"] for one in faults][1:] == [act.title for act in acts]
    assert_same_story(faults, as_lines.output.rstrip().splitlines())


def test_every_fault_is_noticed_and_healed(told: str) -> None:
    faults = json.loads(told)["faults"]
    assert len(faults) == len(ACTS) + 1
    assert [one["fault"] for one in faults if not one["healed"]] == []
    assert all(one["noticed_after_s"] <= one["healed_after_s"] for one in faults)


def assert_same_story(faults: list[dict[str, Any]], lines: list[str]) -> None:
    """Check that a table of lines says of each fault what the JSON says."""
    rows = lines[-len(faults) - 2:-2]
    for row, one in zip(rows, faults, strict=True):
        assert row.startswith(one["fault"])
        for moment in ("noticed_after_s", "healed_after_s"):
            told = {f" {render_duration(round(one[moment] + edge, 1))} "
                    for edge in (-0.01, 0.01)}      # it was rounded twice
            assert any(words in row for words in told), (row, one)


def test_the_table_says_what_the_json_says(told: str, lines: list[str]) -> None:
    assert_same_story(json.loads(told)["faults"], lines)


def test_the_storm_gate_holds_in_the_demo(told: str) -> None:
    held = [one for one in json.loads(told)["faults"] if one["held_back"]]
    assert "do not answer" in held[0]["held_back"][0]


def test_a_site_is_lost_its_vms_run_elsewhere_and_go_home(told: str) -> None:
    lost, back, home = [one for one in json.loads(told)["faults"]
                        if one["fault"] in {act.title for act in LOST_AND_FOUND}]
    promoted = {action for action in lost["actions"] if action.startswith("promote ")}
    moved = {action for action in home["actions"] if action.startswith("move ")}
    assert len(promoted) > 10
    assert {one.partition(" ")[2] for one in moved} == {one.partition(" ")[2] for one in promoted}
    assert not [one for one in back["actions"] if one.startswith(("start ", "promote "))]
    assert lost["healed_after_s"] - lost["ordered_after_s"] < 20, "once its hosts are proven off"
    assert lost["lost_s"] < 3600, "the widest RPO of the talk"


def test_no_vm_runs_twice_but_where_somebody_makes_a_copy(told: str, lines: list[str]) -> None:
    doubled = {one["fault"] for one in json.loads(told)["faults"] if one["ran_twice"]}
    assert doubled == {act.title for act in ACTS if act.doubles}
    assert "At no moment did two copies" in lines[-2]


def test_a_vm_that_runs_twice_by_what_the_loop_does_is_no_success() -> None:
    shell = Console(width=120, record=True, highlight=False)
    scene = Scene(Act("a fault"), 0.0, noticed_s=1.0, healed_s=2.0, twice={"a uuid"})
    closing_table(shell, (scene,))
    text = shell.export_text()
    assert not scene.healed
    assert "VMs THAT RAN TWICE: 1" in text
    assert "0 of 1 healed" in text


def test_without_a_terminal_each_happening_is_a_line(lines: list[str]) -> None:
    assert any("fault     the process of 33par-sql" in line for line in lines)
    assert lines[-1] == f"{len(ACTS) + 1} of {len(ACTS) + 1} healed"


def test_what_is_not_healed_is_said_and_counts_as_failure() -> None:
    shell = Console(width=120, record=True, highlight=False)
    closing_table(shell, (Scene(Act("a fault"), 0.0),))
    text = shell.export_text()
    assert "NOT HEALED" in text
    assert "0 of 1 healed" in text


def test_the_screen_shows_both_sites_their_hosts_and_a_silent_one() -> None:
    shell = Console(width=140, height=50, record=True, highlight=False, force_terminal=True)
    screen = Screen(shell, 0.0)

    async def watched() -> None:
        rehearsal = Rehearsal(talk_estate(), 1, screen.say)
        playing = asyncio.create_task(rehearsal.play((Act("a host hangs", ("hang 33par-esx2",),
                                                         ("wake 33par-esx2",)),)))
        await asyncio.sleep(30)
        shell.log(screen.draw(rehearsal))
        await playing

    run_virtual(watched())
    text = shell.export_text()
    assert "paris" in text
    assert "milan" in text
    assert "esx2 silent" in text
    assert "33par-esx2 hangs" in text
