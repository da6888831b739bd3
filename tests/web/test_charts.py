"""Charts: a replica's age is exact, a gap is a gap, and the limit is where it is."""

import pytest

from controller.plan.actions.action import Cause
from controller.plan.actions.replica import ReplicateDomain
from controller.store.for_readers.samples import HOUR_S, MINUTE_S
from controller.store.journal import Outcome
from controller.store.store import Store
from controller.web.charts import BARS, age_chart, charts_of, sample_chart
from tests.plan import builders as b

START_S, NOW_S = 0.0, 144 * 600.0


def ages(done: list[tuple[float, float]], rpo_s: float | None = 600.0) -> list[float | None]:
    """The worst ages of a day in seconds, by ten minutes, by looking at each second."""
    worst: list[float | None] = [None] * BARS
    for second in range(int(NOW_S)):
        begun = [first for first, ended in done if ended <= second]
        if begun:
            bar = second // 600
            worst[bar] = max(worst[bar] or 0.0, second + 1 - max(begun))
    return worst


@pytest.mark.parametrize("done", [
    [], [(100.0, 130.0)], [(100.0, 130.0), (400.0, 450.0), (40_000.0, 40_900.0)],
    [(-900.0, -800.0), (5.0, 10.0)], [(0.0, 600.0), (600.0, 1200.0)],
    [(500.0, 700.0), (300.0, 800.0)], [(86_000.0, 86_399.0)]])
def test_the_worst_age_is_that_of_each_second(done: list[tuple[float, float]]) -> None:
    chart = age_chart(done, None, "day", START_S, NOW_S)
    expected = ages(done)
    assert [one is None for one in chart.bars] == [one is None for one in expected]
    top = max((one for one in expected if one is not None), default=1.0) * 1.1
    assert [one for one in chart.bars if one is not None] == pytest.approx(
        [one / top for one in expected if one is not None], abs=2 / top)


def test_what_was_within_its_objective_is_never_rounded_up() -> None:
    steady = [(at - 10.0, float(at)) for at in range(0, int(NOW_S) + 1, 300)]
    assert "100 % of the time" in age_chart(steady, 600.0, "day", START_S, NOW_S).sentence
    late = [one for one in steady if one[1] != 43_200]
    chart = age_chart(late, 600.0, "day", START_S, NOW_S)
    assert "99.9 % of the time; worst 10m10s" in chart.sentence
    assert chart.over.count(True) == 1
    assert chart.limit == pytest.approx(600 / (610 * 1.1))


def test_nothing_known_is_nothing_drawn() -> None:
    chart = age_chart([], 600.0, "day", START_S, NOW_S)
    assert set(chart.bars) == {None}
    assert chart.sentence == "No copy of it has ended in this time"
    assert sample_chart([], 8, "Load", "{:.1f}", START_S, NOW_S).sentence.startswith("It was not")


def test_a_host_that_was_not_seen_leaves_a_gap() -> None:
    with Store.open(":memory:") as store:
        for minute in (0, 1, 100):
            store.save_samples(b.NOW_S - 86_000 + 60 * minute, {"paris-1": (2.0, 1 << 30)}
                               if minute != 1 else {"milan-1": (1.0, 5)})
        load, memory = charts_of(store, {"kind": "Host", "name": "paris-1", "cpus": 8,
                                         "memory_bytes": 4 << 30}, b.NOW_S)[:2]
        assert sum(one is not None for one in load.bars) == 2
        assert "At most 2.0 of 8.0" in load.sentence
        assert "At most 1GiB of 4GiB" in memory.sentence


def test_samples_are_one_a_minute_and_have_an_end() -> None:
    with Store.open(":memory:") as store:
        for second in range(0, 3 * 86_400, 30):
            store.save_samples(float(second), {"paris-1": (second / 1000, second)})
        minutes = store.samples("paris-1", MINUTE_S, 0.0)
        hours = store.samples("paris-1", HOUR_S, 0.0)
        assert len(minutes) <= 25 * 60 + 1
        assert (len(hours), hours[0].used_bytes) == (72, 3540)
        store.save_samples(5.0, {})     # a clock that was set back
        assert len(store.samples("paris-1", MINUTE_S, 0.0)) == 0
        assert store.samples("' OR 1", MINUTE_S, 0.0) == ()


def test_ages_come_from_copies_that_were_done() -> None:
    with Store.open(":memory:") as store:
        for at, outcome in ((100.0, Outcome.DONE), (200.0, Outcome.REFUSED)):
            intent = store.intend("a", ReplicateDomain.verb, "Replica/sql", "paris-1", "r", "w",
                                  at, Cause.ROUTINE)
            store.conclude(intent, outcome, "s", at + 7)
        assert store.completions("Replica/sql", ReplicateDomain.verb, 0.0) == ((100.0, 107.0),)
        assert store.completions("Replica/web", ReplicateDomain.verb, 0.0) == ()
