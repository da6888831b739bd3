"""The cases of replication: what a restore point is, on every provider."""

from controller.model.facts import Known
from controller.model.replica import Leftover, LeftoverKind, ReplicaFacts
from controller.plan.actions.replica import (
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    SweepLeftovers,
    VerifyReplica,
)
from controller.plan.compute import compute
from controller.plan.survey.context import Context, ReplicaRequest, RequestKind
from tests.conformance.stage import Stage, common, domain, known, observed, refusal, where

VM = "web"


async def a_copy_makes_the_next_restore_point_and_leaves_nothing_behind(stage: Stage) -> None:
    """The replica names the VM and the checkpoint, the source has it, and no job is left."""
    action = await copied(stage)
    facts = await replica(stage, action)
    newest = facts.newest
    assert newest is not None
    assert (facts.machine, facts.unreadable, facts.incoming) == (VM, "", ())
    assert (newest.sequence, newest.damaged_clusters) == (action.sequence, 0)
    assert newest.started_at <= newest.committed_at <= stage.clock() + 1.0
    assert set(facts.disks) == {disk.target for disk in action.disks}
    source = await domain(stage, action.node, VM)
    assert source is not None
    assert source.job is None
    ours = [name for name in source.checkpoints if name.startswith("hotsite-")]
    assert ours == [newest.checkpoint]
    for node in action.nodes:
        assert not [one for one in await leftovers(stage, node)
                    if one.kind is not LeftoverKind.PROGRAM]


async def a_point_that_is_there_is_not_made_again(stage: Stage) -> None:
    """The same request is done already, and the replica stays as it is."""
    action = await copied(stage)
    before = (await replica(stage, action)).points
    assert await refusal(stage, action) == "done"
    assert (await replica(stage, action)).points == before


async def a_replica_that_is_read_is_vouched_for(stage: Stage) -> None:
    """The scrub and every sound point are dated."""
    action = await copied(stage)
    begun_at = stage.clock()
    await stage.provider.apply(VerifyReplica(**at_replica(action), budget_s=300.0))
    facts = await replica(stage, action)
    assert facts.scrubbed_at is not None
    assert facts.scrubbed_at >= begun_at - 1.0
    assert all(one.verified_at is not None for one in facts.points)


async def old_points_retire_and_the_newest_does_not(stage: Stage) -> None:
    """What the newest holds stays readable; the newest itself is refused."""
    first = await copied(stage)
    last = await copied(stage)
    old = RetirePoints(**at_replica(last), sequences=(first.sequence,))
    assert await refusal(stage, old) == "done"
    facts = await replica(stage, last)
    assert first.sequence not in {one.sequence for one in facts.points}
    assert facts.newest is not None
    assert facts.newest.sequence == last.sequence
    newest = RetirePoints(**at_replica(last), sequences=(last.sequence,))
    assert await refusal(stage, newest) == "Refused"
    assert (await replica(stage, last)).points == facts.points


async def a_replica_that_is_removed_is_absent_and_can_be_made_again(stage: Stage) -> None:
    """Removing what is gone is done already; the next copy is a seed."""
    action = await copied(stage)
    remove = RemoveReplica(**at_replica(action), uuid=action.uuid)
    await stage.provider.apply(remove)
    facts = (await known(stage, action.to)).replicas
    assert isinstance(facts, Known)
    assert action.uuid not in facts.value
    assert await refusal(stage, remove) == "done"
    again = await copied(stage)
    assert (await replica(stage, again)).newest is not None


async def what_has_an_owner_or_is_gone_is_not_swept(stage: Stage) -> None:
    """The running VM has no job of ours: naming one changes nothing."""
    host = await where(stage, VM)
    seen = await domain(stage, host, VM)
    assert seen is not None
    sweep = SweepLeftovers(target=f"Host/{host}", node=host, reason="a test asks for it",
                           leftovers=(Leftover(LeftoverKind.JOB, seen.uuid),
                                      Leftover(LeftoverKind.KEY, "hotsite-transfer-of-nobody")))
    assert await refusal(stage, sweep) == "done"
    assert await domain(stage, host, VM) == seen


async def copied(stage: Stage) -> ReplicateDomain:
    """Make the next restore point as the planner wants it, and return the action."""
    request = ReplicaRequest(VM, RequestKind.COPY, "a test", stage.clock())
    found = compute(stage.desired, await observed(stage), Context(requests=(request,)),
                    stage.clock())
    action = next(step.action for step in found.steps
                  if isinstance(step.action, ReplicateDomain) and step.action.domain == VM)
    await stage.provider.apply(action)
    return action


def at_replica(action: ReplicateDomain) -> dict[str, str]:
    """The fields of every action on a replica where it lies."""
    return {**common(VM, action.to), "target": f"Replica/{VM}", "path": action.path}


async def replica(stage: Stage, action: ReplicateDomain) -> ReplicaFacts:
    """What a poll says of the replica that `action` added to."""
    facts = (await known(stage, action.to)).replicas
    assert isinstance(facts, Known), f"the replicas of {action.to} are {facts}"
    return facts.value[action.uuid]


async def leftovers(stage: Stage, node: str) -> tuple[Leftover, ...]:
    """What a poll says is left over on a host."""
    facts = (await known(stage, node)).leftovers
    assert isinstance(facts, Known), f"what is left over on {node} is {facts}"
    return facts.value


REPLICA_CASES = (
    a_copy_makes_the_next_restore_point_and_leaves_nothing_behind,
    a_point_that_is_there_is_not_made_again, a_replica_that_is_read_is_vouched_for,
    old_points_retire_and_the_newest_does_not,
    a_replica_that_is_removed_is_absent_and_can_be_made_again,
    what_has_an_owner_or_is_gone_is_not_swept,
)
