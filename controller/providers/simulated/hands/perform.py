"""The effect of each action."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from controller.errors import Refused
from controller.plan.actions.action import Action
from controller.plan.actions.failover import EndStaleDomain, MoveDomain, WriteRecord
from controller.plan.actions.fencing import AdmitAddresses, DropAddresses
from controller.plan.actions.gateway import AddGatewayPort, ConfigureGateways, DropGateways
from controller.plan.actions.guarding import (
    InstallGrantor,
    InstallGuard,
    RestoreGrants,
    RevokeGrants,
)
from controller.plan.actions.leaving import EndGrantor, EndGuard, ForgetNode, RemoveMark
from controller.plan.actions.machine import (
    DefineDomain,
    DisableAutostart,
    MigrateDomain,
    PruneDomain,
    ReconfigureDomain,
    RemoveDomain,
    RestartDomain,
    ResumeDomain,
    ShutDownDomain,
    StartDomain,
    UndefineDomain,
)
from controller.plan.actions.network import (
    AddUplink,
    CreateBridge,
    NarrowTrunk,
    SetPortVlan,
    WidenTrunk,
)
from controller.plan.actions.promotion import AdoptDisks, PromoteReplica, ReleaseTail
from controller.plan.actions.replica import (
    DrillReplica,
    DropCheckpoints,
    DropPoints,
    ExportPoint,
    RemoveReplica,
    ReplicateDomain,
    RetirePoints,
    SweepLeftovers,
    VerifyReplica,
)
from controller.plan.actions.storage import (
    AcceptPool,
    CreateDisk,
    CreatePool,
    PurgeFiles,
    ReturnDisk,
)
from controller.providers.simulated.gateways import hands as gateways
from controller.providers.simulated.hands import (
    drill,
    failover,
    guard,
    leaving,
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
    CreateBridge: network.create_bridge,
    AddUplink: network.add_uplink,
    WidenTrunk: network.set_trunk,
    NarrowTrunk: network.set_trunk,
    SetPortVlan: network.set_port_vlan,
    DropAddresses: network.drop_addresses,
    AdmitAddresses: network.admit_addresses,
    AddGatewayPort: gateways.add_port,
    ConfigureGateways: gateways.configure,
    DropGateways: gateways.drop,
    CreatePool: storage.create_pool,
    AcceptPool: storage.accept_pool,
    CreateDisk: storage.create_disk,
    DefineDomain: lifecycle.define,
    StartDomain: lifecycle.start,
    ResumeDomain: lifecycle.resume,
    ShutDownDomain: lifecycle.shut_down,
    RestartDomain: lifecycle.restart,
    DisableAutostart: lifecycle.disable_autostart,
    UndefineDomain: lifecycle.undefine,
    RemoveDomain: lifecycle.remove,
    ReturnDisk: storage.return_disk,
    PurgeFiles: storage.purge,
    ReconfigureDomain: reconfigure.reconfigure,
    PruneDomain: reconfigure.reconfigure,
    MigrateDomain: migrate.migrate,
    ReplicateDomain: replicate.replicate,
    RetirePoints: replica.retire,
    DropPoints: replica.retire,
    DropCheckpoints: lifecycle.drop_checkpoints,
    VerifyReplica: replica.verify,
    RemoveReplica: replica.remove,
    SweepLeftovers: replica.sweep,
    ExportPoint: replica.export,
    DrillReplica: drill.drill,
    WriteRecord: failover.write_record,
    EndStaleDomain: failover.end_stale,
    InstallGuard: guard.install_guard,
    InstallGrantor: guard.install_grantor,
    RevokeGrants: guard.revoke,
    RestoreGrants: guard.restore,
    PromoteReplica: failover.promote,
    MoveDomain: failover.move,
    AdoptDisks: failover.adopt,
    ReleaseTail: failover.release,
    RemoveMark: leaving.remove_mark,
    EndGuard: leaving.end_guard,
    EndGrantor: leaving.end_grantor,
    ForgetNode: leaving.forget,
}
NEED_NO_LIBVIRT: Final = frozenset({
    CreateBridge, AddUplink, SetPortVlan, DropAddresses, AdmitAddresses,
    WidenTrunk, NarrowTrunk, AddGatewayPort, ConfigureGateways, DropGateways,
    RetirePoints, DropPoints, VerifyReplica,
    RemoveReplica,
    SweepLeftovers, ExportPoint, WriteRecord,
    InstallGuard, InstallGrantor, RevokeGrants, RestoreGrants,
    EndGuard, EndGrantor, ForgetNode,
})


def libvirt_nodes(action: Action) -> tuple[str, ...]:
    """Return the nodes whose libvirtd must run; a replica's host needs none."""
    if type(action) in NEED_NO_LIBVIRT:
        return ()
    if isinstance(action, ReplicateDomain):
        return (action.node,)
    return action.nodes


def effect_of(world: World, action: Action) -> Effect:
    """Return the effect of `action`, not yet begun.

    Errors: Refused for a verb that no hand here knows.
    """
    if type(action) not in HANDS:
        raise Refused(f"nobody here can {action.verb}")
    return HANDS[type(action)](world, action)
