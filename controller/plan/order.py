"""Order: steps so that nothing stands before what it has to wait for; always the same order."""

from heapq import heapify, heappop, heappush

from controller.plan.draft import Item
from controller.plan.plan import Ruling, Step, Verdict

CIRCLE = Ruling(
    Verdict.REFUSED, "order", "each of these would have to be done before the other",
    "when one of the hosts has room for both, or one of the VMs is off while they change places")


def order(items: list[Item]) -> tuple[Step, ...]:
    """Return the items as steps in topological order, ties by rung, then rank, then id.

    An `after` that names nothing in the plan is dropped; items in a circle come last, refused.
    """
    if not items:
        return ()
    by_id = {item.action.id: item for item in items}
    after = {name: tuple(sorted({one for one in item.after if one in by_id and one != name}))
             for name, item in by_id.items()}
    waits = {name: len(before) for name, before in after.items()}
    followers: dict[str, list[str]] = {}
    for name, before in after.items():
        for one in before:
            followers.setdefault(one, []).append(name)
    keys = {name: (item.action.rung.height, item.rank, name) for name, item in by_id.items()}
    free = [keys[name] for name, count in waits.items() if count == 0]
    heapify(free)
    steps: list[Step] = []
    while free:
        name = heappop(free)[2]
        del keys[name]
        steps.append(Step(by_id[name].action, after[name]))
        for one in followers.get(name, ()):
            waits[one] -= 1
            if waits[one] == 0:
                heappush(free, keys[one])
    steps += [Step(by_id[name].action, after[name], CIRCLE) for name in sorted(keys)]
    return tuple(steps)
