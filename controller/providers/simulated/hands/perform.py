"""Which effect belongs to which action."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from controller.errors import Refused
from controller.plan import actions, replica_actions, storage_actions, trunk_actions
from controller.plan.actions import Action
from controller.providers.simulated.hands import (
    lifecycle,
    migrate,
    network,
    reconfigure,
    replica,
    replicate,
    storage,
)
from controller.providers.simulated.hands.effect import Effect
from controller.providers.simulated.world import World

HANDS: Final[Mapping[type[Action], Callable[[World, Any], Effect]]] = {
    actions.CreateBridge: network.create_bridge,
    actions.AddUplink: network.add_uplink,
    trunk_actions.WidenTrunk: network.set_trunk,
    trunk_actions.NarrowTrunk: network.set_trunk,
    actions.SetPortVlan: network.set_port_vlan,
    actions.CreatePool: storage.create_pool,
    storage_actions.AcceptPool: storage.accept_pool,
    actions.CreateDisk: storage.create_disk,
    actions.DefineDomain: lifecycle.define,
    actions.StartDomain: lifecycle.start,
    actions.ResumeDomain: lifecycle.resume,
    actions.ShutDownDomain: lifecycle.shut_down,
    actions.RestartDomain: lifecycle.restart,
    actions.DisableAutostart: lifecycle.disable_autostart,
    actions.UndefineDomain: lifecycle.undefine,
    actions.RemoveDomain: lifecycle.remove,
    storage_actions.ReturnDisk: storage.return_disk,
    storage_actions.PurgeFiles: storage.purge,
    actions.ReconfigureDomain: reconfigure.reconfigure,
    actions.PruneDomain: reconfigure.reconfigure,
    actions.MigrateDomain: migrate.migrate,
    replica_actions.ReplicateDomain: replicate.replicate,
    replica_actions.RetirePoints: replica.retire,
    replica_actions.DropPoints: replica.retire,
    replica_actions.DropCheckpoints: lifecycle.drop_checkpoints,
    replica_actions.VerifyReplica: replica.verify,
    replica_actions.RemoveReplica: replica.remove,
    replica_actions.SweepLeftovers: replica.sweep,
    replica_actions.ExportPoint: replica.export,
}
NEED_NO_LIBVIRT: Final = frozenset({
    actions.CreateBridge, actions.AddUplink, actions.SetPortVlan,
    trunk_actions.WidenTrunk, trunk_actions.NarrowTrunk,
    replica_actions.RetirePoints, replica_actions.DropPoints, replica_actions.VerifyReplica,
    replica_actions.RemoveReplica,
    replica_actions.SweepLeftovers, replica_actions.ExportPoint,
})


def libvirt_nodes(action: Action) -> tuple[str, ...]:
    """Return the nodes whose libvirtd must be there; a replica's host needs none."""
    if type(action) in NEED_NO_LIBVIRT:
        return ()
    if isinstance(action, replica_actions.ReplicateDomain):
        return (action.node,)
    return action.nodes


def effect_of(world: World, action: Action) -> Effect:
    """Return the effect of `action`, not yet begun.

    Errors: Refused for a verb that no hand here knows.
    """
    if type(action) not in HANDS:
        raise Refused(f"nobody here can {action.verb}")
    return HANDS[type(action)](world, action)


def perform_at_once(world: World, action: Action) -> str:
    """Do `action` in no time, for what-if; return its sentence.

    Errors: Refused as the real thing would.
    """
    effect = effect_of(world, action)
    try:
        while True:
            next(effect)
    except StopIteration as ended:
        return str(ended.value)
