"""The example alert rules use only metrics of a real scrape, and name verbs that exist."""

import re
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from ryaml import loads as parse_yaml

from controller.failover.states import Phase
from controller.model.condition import ConditionType, Status
from controller.store.journal import Outcome
from controller.telemetry import Forecast, LoopFigures, configure
from controller.telemetry.listening import Listening

RULES = Path(__file__).parent.parent.parent / "examples/alerts/hotsite.rules.yaml"


def rules() -> list[dict[str, Any]]:
    """Every alert of the example."""
    document = parse_yaml(RULES.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def shown() -> set[str]:
    """The name of every series that a scrape shows."""
    telemetry = configure("127.0.0.1:0", {})
    assert isinstance(telemetry, Listening)
    assert telemetry._endpoint is not None
    telemetry.nodes({"paris-1": 1.0, "paris-2": None})
    telemetry.action("start-domain", "done", 1.0)
    telemetry.refusal("storm")
    telemetry.planned(0.1)
    telemetry.polled(0.1, answered=True)
    telemetry.conditions({("Ready", "true"): 1})
    telemetry.sites({"paris": Forecast(17, 1, 250.0, 192.0)})
    telemetry.loop(LoopFigures({"allowed": 3}, {"Site/paris": "promoting"}))
    telemetry.notified("oncall", "done")
    telemetry.waiting({"oncall": 0})
    telemetry.loop_lag(0.1)
    url = f"http://127.0.0.1:{telemetry._endpoint.port}/metrics"
    with urllib.request.urlopen(url, timeout=60) as reply:
        text = reply.read().decode()
    telemetry.close()
    return set(re.findall(r"^(hotsite_\w+)", text, re.MULTILINE))


def test_every_series_of_a_rule_is_one_that_is_shown() -> None:
    wanted = {name for rule in rules() for name in re.findall(r"hotsite_\w+", rule["expr"])}
    assert len(wanted) >= 8
    assert wanted <= shown()


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: str(rule["alert"]))
def test_a_rule_says_how_bad_it_is_and_what_to_do(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"].endswith(".")
    assert rule["expr"].count("(") == rule["expr"].count(")")
    values = dict(re.findall(r'(\w+)=~?"([^"]+)"', rule["expr"]))
    assert values.get("type", "Ready") in set(ConditionType)
    assert values.get("status", "true") in set(Status)
    assert set(values.get("phase", "calm").split("|")) <= set(Phase)
    assert set(values.get("outcome", "done").split("|")) <= set(Outcome)


def test_prometheus_itself_accepts_the_rules() -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool (of Debian's prometheus) is not installed; the rules are read above")
    subprocess.run([promtool, "check", "rules", RULES], check=True)
