"""The predictions that a loop noted, as values again: for `status`, the API and the page."""

from dataclasses import fields
from typing import Any

from controller.plan.prediction.sentence import render_basis, render_prediction, render_window
from controller.plan.steps.prediction import Hindered, Prediction, Schedule, Window
from controller.plan.steps.takeover import Outcome

Row = dict[str, Any]


def parse_prediction(row: Row) -> Prediction:
    """Return a prediction from its JSON; what an older loop did not note is as if unknown."""
    known = {one.name: row[one.name] for one in fields(Prediction) if one.name in row}
    schedule, window = row.get("schedule") or {}, row.get("window")
    return Prediction(**known | {
        "hindered": tuple(Hindered(one["machine"], Outcome(one["outcome"]), one["sentence"])
                          for one in row.get("hindered") or []),
        "window": None if window is None else Window(**{
            one.name: _as_tuple(window[one.name]) for one in fields(Window)}),
        "schedule": Schedule(**{one.name: _as_tuple(schedule[one.name]) for one in fields(Schedule)
                            if one.name in schedule})})


def _as_tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def sentences_of(row: Row, now_s: float) -> Row:
    """Return what a prediction says, as sentences, and when the last VM has started."""
    one = parse_prediction(row)
    return {"sentence": render_prediction(one, now_s), "basis": render_basis(one, now_s),
            "window_sentence": render_window(one), "last_start_s": one.schedule.last_start_s}
