"""No name from a host, a guest or another person controls the operator's terminal."""

import io
import json

import pytest
from rich.console import Console
from rich.text import Text

from controller.cli.view.log import describe_event, describe_row, event_json
from controller.cli.view.paint import Painter, table
from controller.cli.view.terminal import fit, fit_json
from controller.reconcile.report.event import Event, EventKind
from controller.store.journal import EventRow

ODD = ["\x1b[2J", "\x9b2J", "\x07", "\r", "\x7f", "\u202e", "\u2028", "\u2066"]


@pytest.mark.parametrize("odd", ODD)
def test_no_line_for_people_holds_it(odd: str) -> None:
    name = f"sql{odd}"
    screen = io.StringIO()
    painter = Painter(Console(file=screen, force_terminal=True, color_system=None, width=80))
    painter.line(name)
    painter.line(Text(name, "bold"))
    painter.sentence(Text(f"{name} "), f"it is {name}")
    table(painter, [("name",), (name,)])
    event = Event(EventKind.PLAN, f"VirtualMachine/{name}", name, name, 1.0)
    row = EventRow(1, 1.0, "note", name, name, "", "", "", "", "", None, name)
    for told in (screen.getvalue(), describe_event(event), describe_row(row)):
        assert odd not in told
        assert odd[0] not in told
        assert "sql?" in told


@pytest.mark.parametrize("odd", ODD)
def test_json_means_the_same_and_holds_it_escaped(odd: str) -> None:
    event = Event(EventKind.PLAN, f"VirtualMachine/{odd}", "", odd, 1.0)
    told = event_json(event)
    assert odd[0] not in told
    assert json.loads(told)["sentence"] == odd


def test_what_people_write_stays() -> None:
    words = "arrêt\u00a0: «\u202fpanne\u202f» — 停電 🙂\tx\ny"
    assert fit(words) == words
    assert json.loads(fit_json(json.dumps(words, ensure_ascii=False))) == words
