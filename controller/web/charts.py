"""Charts of a day and a month: 144 bars each, with the sentence that says what they show.

The age of a replica is exact: each copy that ended, by the journal, made the newest restore point
as old as that copy's beginning; between two copies it grew by a second each second. Before the
first copy that the journal holds nothing is known, and nothing is drawn. Load and memory are
samples, one for each minute or hour: a step without one is a gap.
"""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Final, NamedTuple

from controller.model.units import render_duration, render_size
from controller.plan.actions.replica import ReplicateDomain
from controller.reconcile.inspect.desk import Row
from controller.store.for_readers.samples import HOUR_S, MINUTE_S
from controller.store.store import Store

BARS: Final = 144
SPANS: Final = (("day", 86400.0, MINUTE_S), ("month", 30 * 86400.0, HOUR_S))
"""By name: its length, and the step of its samples."""
HEADROOM: Final = 1.1


class Chart(NamedTuple):
    """Bars from 0 to 1, oldest first; None where nothing is known."""

    title: str
    sentence: str
    bars: tuple[float | None, ...]
    over: tuple[bool, ...]
    """Which of them are above the limit."""
    limit: float | None
    """Where the limit is, from 0 to 1; None without one, or where it is above all that is drawn."""


def charts_of(store: Store, row: Row, now_s: float) -> list[Chart]:
    """Return the charts of an object; none where nothing of it is counted.

    Errors: JournalUnavailable.
    """
    found = []
    for name, span_s, step in SPANS:
        start_s = now_s - span_s
        if row["kind"] == "VirtualMachine" and row.get("policy"):
            done = store.completions(f"Replica/{row['name']}", ReplicateDomain.verb,
                                     start_s - 86400.0)
            found.append(age_chart(done, row.get("rpo_s"), name, start_s, now_s))
        if row["kind"] == "Host":
            samples = store.samples(row["name"], step, start_s)
            load = [(one.at, one.load) for one in samples]
            used = [(one.at, float(one.used_bytes)) for one in samples]
            found += [sample_chart(load, row.get("cpus"), f"Load, {name}", "{:.1f}", start_s,
                                   now_s),
                      sample_chart(used, row.get("memory_bytes"), f"Memory, {name}", "", start_s,
                                   now_s)]
    return found


def age_chart(done: Sequence[tuple[float, float]], rpo_s: float | None, name: str, start_s: float,
              now_s: float) -> Chart:
    """Return the worst age of the newest restore point in each bar."""
    width_s = (now_s - start_s) / BARS
    worst: list[float | None] = [None] * BARS
    newest_s, known_s, over_s, top_s, worst_at = float("-inf"), 0.0, 0.0, 0.0, start_s
    ends = [*(ended for _, ended in done), now_s][1:]
    for (begun, ended), until_s in zip(done, ends, strict=True):
        newest_s = max(newest_s, begun)
        since_s = max(ended, start_s)
        if until_s <= since_s:
            continue
        known_s += until_s - since_s
        if rpo_s is not None:
            over_s += max(0.0, until_s - max(since_s, newest_s + rpo_s))
        for bar in range(int((since_s - start_s) / width_s),
                         min(BARS, int((until_s - start_s) / width_s) + 1)):
            age_s = min(until_s, start_s + (bar + 1) * width_s) - newest_s
            if age_s > top_s:
                top_s, worst_at = age_s, newest_s + age_s
            worst[bar] = max(worst[bar] or 0.0, age_s)
    if not known_s:
        sentence = "No copy of it has ended in this time"
    else:
        share = 100 * (1 - over_s / known_s)
        within = "" if rpo_s is None else (
            f"Within its objective of {render_duration(rpo_s)} {floor(share)} % of the time; ")
        sentence = f"{within}worst {render_duration(float(int(top_s)))} at {instant(worst_at)}"
        sentence = sentence[0].upper() + sentence[1:]
    return scaled(f"Replica age, {name}", sentence, worst, rpo_s)


def sample_chart(samples: Iterable[tuple[float, float]], full: float | None, title: str,
                 form: str, start_s: float, now_s: float) -> Chart:
    """Return the most in each bar; `full` is all that there is."""
    width_s = (now_s - start_s) / BARS
    worst: list[float | None] = [None] * BARS
    peak, peak_at = -1.0, start_s
    for at, value in samples:
        bar = min(BARS - 1, max(0, int((at - start_s) / width_s)))
        worst[bar] = max(worst[bar] or 0.0, value)
        if value > peak:
            peak, peak_at = value, at

    def said(value: float) -> str:
        """Return a value in its unit."""
        return form.format(value) if form else render_size(int(value))

    sentence = ("It was not seen in this time" if peak < 0 else
                f"At most {said(peak)}{f' of {said(full)}' if full else ''},"
                f" at {instant(peak_at)}")
    return scaled(title, sentence, worst, full)


def scaled(title: str, sentence: str, values: Sequence[float | None],
           limit: float | None) -> Chart:
    """Return a chart whose highest bar, or its limit if that is near, is at the top."""
    top = max((one for one in values if one is not None), default=0.0)
    if limit is not None and limit < 4 * top:
        top = max(top, limit)
    top = top * HEADROOM or 1.0
    return Chart(title, sentence, tuple(None if one is None else one / top for one in values),
                 tuple(one is not None and limit is not None and one > limit for one in values),
                 limit / top if limit is not None and limit <= top else None)


def floor(share: float) -> str:
    """Return a percentage that is 100 only where it is all."""
    return "100" if share >= 100 else f"{int(share * 10) / 10:g}"


def instant(at: float) -> str:
    """Return a minute in the time of this machine."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%b %d %H:%M")
