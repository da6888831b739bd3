"""Each example alert, judged by Prometheus itself: it fires on its cause, not before its time.

`promtool` is in Debian's package prometheus, which also starts a server: unpack it without
installing it (`apt-get download prometheus && dpkg -x prometheus_*.deb DIR`), and put DIR/usr/bin
into PATH.
"""

import json
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import pytest
from ryaml import loads as parse_yaml

RULES = Path(__file__).parent.parent.parent / "examples/alerts/hotsite.rules.yaml"
WELL = {
    "hotsite_cycle_age_seconds": "2x90",
    'hotsite_nodes{state="unknown"}': "0x90",
    'hotsite_fact_age_seconds{node="paris-1"}': "8x90",
    'hotsite_conditions{type="Ready",status="true"}': "40x90",
    'hotsite_refusals_total{rule="storm"}': "3x90",
    'hotsite_conducts{instance="a"}': "1x90",
    'hotsite_conducts{instance="b"}': "0x90",
    "hotsite_journal_writable": "1x90",
    'hotsite_failovers{scope="Site/paris",phase="promoting"}': "1x90",
    'hotsite_notifications_waiting{receiver="oncall"}': "0x5 1x10 0x75",
    'hotsite_action_duration_seconds_count{verb="replicate",outcome="done"}': "0+7x90",
    'hotsite_poll_duration_seconds_bucket{le="0.3"}': "0+60x90",
    'hotsite_poll_duration_seconds_bucket{le="+Inf"}': "0+60x90",
    'hotsite_loop_lag_seconds_bucket{le="0.01"}': "0+12x90",
    'hotsite_loop_lag_seconds_bucket{le="+Inf"}': "0+12x90",
}
"""By series: its values, one a minute, while nothing is wrong."""


class Cause(NamedTuple):
    """What makes an alert fire: some series as they are then, instead of those of `WELL`."""

    series: dict[str, str]
    quiet_min: int
    """It does not fire yet."""
    fires_min: int


CAUSES = {
    "HotsiteGone": Cause({"hotsite_cycle_age_seconds": "_x90"}, 4, 6),
    "HotsiteHangs": Cause({"hotsite_cycle_age_seconds": "0+60x90"}, 3, 5),
    "NodesUnknown": Cause({'hotsite_nodes{state="unknown"}': "1x90"}, 4, 6),
    "FactsTooOld": Cause({'hotsite_fact_age_seconds{node="paris-1"}': "91x90"}, 1, 3),
    "GlassBroken": Cause(
        {'hotsite_conditions{type="BreakGlass",status="true"}': "0x5 1x85"}, 4, 6),
    "SiteNotSurvivable": Cause(
        {'hotsite_conditions{type="Survivable",status="false"}': "1x90"}, 14, 16),
    "SurvivalUnknown": Cause(
        {'hotsite_conditions{type="Survivable",status="unknown"}': "1x90"}, 29, 31),
    "ObjectsStalled": Cause({'hotsite_conditions{type="Stalled",status="true"}': "1x90"}, 4, 6),
    "ObjectsNotReady": Cause({'hotsite_conditions{type="Ready",status="false"}': "1x90"}, 29, 31),
    "StormGateHolds": Cause({'hotsite_refusals_total{rule="storm"}': "0x20 1x70"}, 20, 22),
    "ActionsFail": Cause({'hotsite_action_duration_seconds_count{verb="replicate",'
                          'outcome="unavailable"}': "0x20 1+1x70"}, 21, 35),
    "NobodyActs": Cause({'hotsite_conducts{instance="a"}': "0x90"}, 4, 6),
    "JournalReadOnly": Cause({"hotsite_journal_writable": "0x90"}, 1, 3),
    "FailoverWaits": Cause({'hotsite_failovers{scope="Site/paris",phase="fencing"}': "1x90"}, 4, 6),
    "PeopleNotTold": Cause({'hotsite_notifications_waiting{receiver="oncall"}': "2x90"}, 14, 16),
    "PollsSlow": Cause({'hotsite_poll_duration_seconds_bucket{le="0.3"}': "0x90",
                        'hotsite_poll_duration_seconds_bucket{le="30"}': "0+60x90"}, 9, 13),
    "LoopLags": Cause({'hotsite_loop_lag_seconds_bucket{le="0.01"}': "0x90",
                       'hotsite_loop_lag_seconds_bucket{le="3"}': "0+12x90"}, 9, 13),
}
"""By alert: what it is for."""


def promtool() -> str:
    """Return the path of promtool; skip, aloud, where there is none."""
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool is not installed: see the top of this file")
    return found


def test_every_alert_has_a_cause() -> None:
    document = parse_yaml(RULES.read_text())
    assert {rule["alert"] for group in document["groups"] for rule in group["rules"]} == set(CAUSES)


def firing(alert: str, at_min: int, expected: int) -> dict[str, object]:
    """Return promtool's question how many of an alert fire at a minute."""
    return {"expr": f'count(ALERTS{{alertname="{alert}",alertstate="firing"}}) or vector(0)',
            "eval_time": f"{at_min}m", "exp_samples": [{"labels": "{}", "value": expected}]}


def test_an_alert_fires_on_its_cause_and_not_before(tmp_path: Path) -> None:
    tool = promtool()
    cases: list[dict[str, object]] = [{
        "interval": "1m", "input_series": series(WELL),
        "promql_expr_test": [firing(alert, 80, 0) for alert in CAUSES]}]
    cases += [{"interval": "1m", "input_series": series(WELL | cause.series),
               "promql_expr_test": [firing(alert, cause.quiet_min, 0),
                                    firing(alert, cause.fires_min, 1)]}
              for alert, cause in CAUSES.items()]
    asked = tmp_path / "rules.test.json"
    asked.write_text(json.dumps({"rule_files": [str(RULES)], "evaluation_interval": "1m",
                                 "tests": cases}))
    ran = subprocess.run([tool, "test", "rules", str(asked)], capture_output=True, text=True,
                         timeout=120)
    assert ran.returncode == 0, ran.stdout + ran.stderr


def series(values: dict[str, str]) -> list[dict[str, str]]:
    """Return series as promtool reads them."""
    return [{"series": name, "values": each} for name, each in values.items()]
