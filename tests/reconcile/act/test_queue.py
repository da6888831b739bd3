"""The queue: which action comes next, what it waits for, and never one target at two workers."""


import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from controller.reconcile.act.queue import AGE_S, KeyedQueue, Priority, State
from controller.reconcile.decide.attempts import BACK_OFF_MOST_S, JITTER

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
PRIORITIES = st.sampled_from(list(Priority))


def drained(queue: KeyedQueue, now_s: float) -> list[str]:
    """Take and finish until nothing is ready."""
    names = []
    while (name := queue.take(now_s)) is not None:
        names.append(name)
        queue.done(name, now_s)
    return names


def test_the_most_urgent_class_comes_first_and_within_it_the_oldest() -> None:
    queue = KeyedQueue()
    for at, (name, priority) in enumerate([
            ("p", Priority.PERIODIC), ("h", Priority.HEAL), ("c", Priority.COMMIT),
            ("e", Priority.EMERGENCY), ("h2", Priority.HEAL), ("human", Priority.HUMAN)]):
        queue.offer(name, priority, at / 10)
    assert drained(queue, 1.0) == ["human", "e", "c", "h", "h2", "p"]


def test_a_low_class_that_waited_long_passes_a_fresh_high_one() -> None:
    queue = KeyedQueue()
    queue.offer("old", Priority.PERIODIC, 0.0)
    queue.offer("new", Priority.HUMAN, Priority.PERIODIC * AGE_S + 1.0)
    assert drained(queue, 500.0) == ["old", "new"]


def test_a_ready_name_only_ever_gets_more_urgent() -> None:
    queue = KeyedQueue()
    queue.offer("a", Priority.COMMIT, 0.0)
    queue.offer("b", Priority.PERIODIC, 0.0)
    queue.offer("b", Priority.HUMAN, 0.0)
    queue.offer("b", Priority.PERIODIC, 0.0)
    assert drained(queue, 0.0) == ["b", "a"]


def test_a_name_offered_while_taken_comes_again_afterwards_and_only_then() -> None:
    queue = KeyedQueue()
    queue.offer("a", Priority.HEAL, 0.0)
    assert queue.take(0.0) == "a"
    queue.offer("a", Priority.HEAL, 0.0)
    assert queue.take(0.0) is None
    queue.done("a", 1.0)
    assert queue.take(1.0) == "a"


def test_back_off_doubles_to_five_minutes_and_ends_by_itself() -> None:
    queue = KeyedQueue(seed=7)
    queue.offer("a", Priority.HEAL, 0.0)
    now_s, delays = 0.0, []
    for _ in range(12):
        assert queue.take(now_s) == "a"
        delays.append(queue.retry("a", now_s))
        assert queue.take(now_s + delays[-1] * 0.99) is None
        now_s += delays[-1]
    for number, delay_s in enumerate(delays):
        wanted_s = min(2.0 ** number, BACK_OFF_MOST_S)
        assert wanted_s * (1 - JITTER) <= delay_s <= wanted_s * (1 + JITTER)


def test_success_forgets_earlier_failures() -> None:
    queue = KeyedQueue()
    queue.offer("a", Priority.HEAL, 0.0)
    for now_s in (0.0, 10.0, 20.0):
        assert queue.take(now_s) == "a"
        queue.retry("a", now_s)
    assert queue.take(100.0) == "a"
    queue.done("a", 100.0)
    queue.offer("a", Priority.HEAL, 100.0)
    assert queue.take(100.0) == "a"
    assert queue.retry("a", 100.0) <= 1.0 + JITTER


@pytest.mark.parametrize(("state", "woken_by_offer"), [
    (State.PARKED, True), (State.STALLED, False), (State.BACKING_OFF, False)])
def test_an_offer_wakes_what_is_parked_and_nothing_else_that_waits(
        state: State, woken_by_offer: bool) -> None:
    queue = KeyedQueue()
    queue.offer("a", Priority.HEAL, 0.0)
    assert queue.take(0.0) == "a"
    match state:
        case State.PARKED:
            queue.park("a", 0.0, "no room")
        case State.STALLED:
            queue.stall("a", 0.0, "the file exists")
        case _:
            queue.retry("a", 0.0, "no route")
    assert queue.state("a") is state
    assert queue.why("a") != ""
    queue.offer("a", Priority.HEAL, 0.1)
    assert (queue.take(0.1) == "a") is woken_by_offer


def test_a_commit_or_a_person_ends_every_wait_but_takes_nothing_out_of_a_hand() -> None:
    queue = KeyedQueue()
    for name in ("held", "parked", "stalled", "failing"):
        queue.offer(name, Priority.HEAL, 0.0)
        assert queue.take(0.0) == name
    queue.park("parked", 0.0, "waits")
    queue.stall("stalled", 0.0, "refused")
    queue.retry("failing", 0.0)
    queue.free_all(0.5)
    assert sorted(drained(queue, 0.5)) == ["failing", "parked", "stalled"]
    assert queue.state("held") is State.TAKEN


def test_a_dropped_name_is_gone_unless_it_is_in_hand_or_its_failures_count() -> None:
    queue = KeyedQueue()
    for name in ("ready", "held", "failing"):
        queue.offer(name, Priority.HEAL, 0.0)
    for _ in range(3):
        queue.take(0.0)
    queue.done("ready", 0.0)
    queue.offer("ready", Priority.HEAL, 0.0)
    queue.retry("failing", 0.0)
    for name in ("ready", "held", "failing"):
        queue.drop(name)
    assert queue.state("ready") is None
    assert queue.state("held") is State.TAKEN
    assert queue.state("failing") is State.BACKING_OFF


class QueueMachine(RuleBasedStateMachine):
    """Any sequence of operations: what is taken is in one hand, and nothing is ever lost."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = KeyedQueue(seed=1)
        self.now_s = 0.0
        self.taken: set[str] = set()
        self.offered: set[str] = set()

    @rule(name=NAMES, priority=PRIORITIES)
    def offer(self, name: str, priority: Priority) -> None:
        """Offer a name."""
        self.queue.offer(name, priority, self.now_s)
        self.offered.add(name)

    @rule(passed_s=st.floats(0.0, 400.0))
    def wait(self, passed_s: float) -> None:
        """Let time pass."""
        self.now_s += passed_s

    @rule()
    def take(self) -> None:
        """Take the next name: never one that somebody holds."""
        name = self.queue.take(self.now_s)
        if name is not None:
            assert name not in self.taken
            self.taken.add(name)
            self.offered.discard(name)

    @precondition(lambda self: self.taken)
    @rule(data=st.data(), how=st.sampled_from(["done", "retry", "park", "stall"]))
    def put_down(self, data: st.DataObject, how: str) -> None:
        """Put a name down in one of the four ways."""
        name = data.draw(st.sampled_from(sorted(self.taken)))
        self.taken.discard(name)
        match how:
            case "done":
                self.queue.done(name, self.now_s)
            case "retry":
                self.queue.retry(name, self.now_s)
            case "park":
                self.queue.park(name, self.now_s, "why")
            case _:
                self.queue.stall(name, self.now_s, "why")
        if how != "done":
            self.offered.add(name)

    @rule()
    def free_all(self) -> None:
        """A commit."""
        self.queue.free_all(self.now_s)

    @invariant()
    def what_is_in_hand_is_what_the_queue_says(self) -> None:
        """Compare with the model."""
        assert set(self.queue.keys(State.TAKEN)) == self.taken

    @invariant()
    def nothing_that_was_asked_for_is_lost(self) -> None:
        """Whatever was offered or failed is still held in some state."""
        for name in self.offered:
            assert self.queue.state(name) is not None

    def teardown(self) -> None:
        """After a commit and enough time everything that is not taken can be taken."""
        self.queue.free_all(self.now_s)
        left = set(drained(self.queue, self.now_s + 1e6))
        assert self.offered - self.taken <= left


QueueMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestQueueMachine = QueueMachine.TestCase


@given(st.lists(st.tuples(NAMES, PRIORITIES), max_size=30))
def test_every_offered_name_is_taken_exactly_once(offers: list[tuple[str, Priority]]) -> None:
    queue = KeyedQueue()
    for number, (name, priority) in enumerate(offers):
        queue.offer(name, priority, float(number))
    assert sorted(drained(queue, 1e3)) == sorted({name for name, _ in offers})
