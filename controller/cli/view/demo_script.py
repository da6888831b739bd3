"""The script of the demo: one fault of each kind strikes the estate of the 2007 talk."""

from dataclasses import replace

from controller.model.desired import Desired
from controller.model.network import Network
from controller.reconcile.rehearsal import Act


def add_network(desired: Desired) -> Desired:
    """Declare a sixth VLAN that spans both sites."""
    network = Network.model_validate({
        "kind": "Network", "metadata": {"name": "backup"},
        "spec": {"vlan": 240, "sites": sorted(desired.sites)}})
    return replace(desired, networks={**desired.networks, network.name: network})


def give_memory(desired: Desired) -> Desired:
    """Declare half as much memory again for the mail server."""
    return _with_vm(desired, "33par-mail", memory_bytes=1536 << 20)


def move_to_milan(desired: Desired) -> Desired:
    """Declare that the intranet belongs to the other site."""
    placement = desired.virtual_machines["33par-intrais"].spec.placement
    return _with_vm(desired, "33par-intrais",
                    placement=placement.model_copy(update={"site": "milan"}))


def drain(desired: Desired, *, maintenance: bool = True) -> Desired:
    """Declare one host in maintenance."""
    host = desired.hosts["33mil-esx3"]
    spec = host.spec.model_copy(update={"maintenance": maintenance})
    return replace(desired, hosts={
        **desired.hosts, host.name: host.model_copy(update={"spec": spec})})


def _with_vm(desired: Desired, name: str, **changes: object) -> Desired:
    vm = desired.virtual_machines[name]
    changed = vm.model_copy(update={"spec": vm.spec.model_copy(update=changes)})
    return replace(desired, virtual_machines={**desired.virtual_machines, name: changed})


PARIS = tuple(f"33par-esx{number}" for number in range(1, 7))
"""The hosts of the site that burns."""
LOST_AND_FOUND = (
    Act("a site burns, its BMCs too; a person orders its failover",
        (*(what for host in PARIS for what in (f"power {host} off", f"bmc {host} down")),
         "power 33par-sw off", "wait 60", "failover Site/paris", "wait 30",
         *(f"confirm-fenced {host}" for host in PARIS)),
        until=("Site/paris", "led-elsewhere")),
    Act("the lost site has power again",
        ("power 33par-sw on", *(what for host in PARIS
                                for what in (f"power {host} on", f"bmc {host} up"))),
        until=("Site/paris", "protected-reversed"), lesson="it starts nothing by itself"),
    Act("a person orders the way back", ("failback Site/paris",),
        lesson="each is shut down, and its last difference sent, before it starts"),
)
ACTS = (
    Act("a VM's process dies", ("kill any 33par-sql",)),
    Act("somebody shuts a VM off by hand", ("shutoff any 33par-crm",)),
    Act("somebody undefines a running VM", ("undefine any 33par-dns1",)),
    Act("somebody destroys and undefines a VM", ("erase any 33par-print",)),
    Act("a guest's port is put on a wrong VLAN", ("tag any 33par-paie 202",)),
    Act("a VLAN is dropped from a host's switch port", ("trunk 33par-sw h1 drop 220",)),
    Act("a VLAN too many passes between the sites", ("trunk 33mil-sw tr0 add 666",)),
    Act("an uplink is pulled out of its bridge", ("unplug 33mil-esx2 up0",)),
    Act("somebody takes memory from a VM", ("memory any 33par-citrix1 512MiB",)),
    Act("somebody migrates a VM to the other site", ("hand-migrate 33par-compta 33mil-esx1",)),
    Act("somebody pauses a VM", ("pause any 33par-ftp",)),
    Act("somebody switches libvirt's autostart on", ("autostart any 33par-web2",)),
    Act("a VM dies and the reply to its start is lost",
        ("lose-reply next", "kill any 33par-proxy")),
    Act("one member of the inter-site trunk is cut", ("link metro/1 down",),
        ("link metro/1 up",), lesson="degraded, and nothing done"),
    Act("sshd of a host stops answering", ("ssh 33par-esx3 pause",), ("ssh 33par-esx3 resume",),
        lesson="its VMs are unknown, not gone"),
    Act("libvirtd of a host dies", ("libvirtd 33mil-esx4 kill",), ("libvirtd 33mil-esx4 start",),
        lesson="its VMs are unknown, not gone"),
    Act("a host hangs", ("hang 33mil-esx5",), ("wake 33mil-esx5",),
        lesson="its VMs are unknown, not gone"),
    Act("a host loses its power", ("power 33par-esx1 off",), ("power 33par-esx1 on",),
        lesson="nothing started elsewhere while it was dark"),
    Act("all of a site falls silent", ("site milan cut",), ("site milan join",), 60.0,
        lesson="nothing done about any of its VMs"),
    Act("two hosts of one site fall silent, and a VM dies there",
        ("hang 33mil-esx5", "hang 33mil-esx6", "wait 20", "kill any 33par-crm"),
        ("wake 33mil-esx5", "wake 33mil-esx6"), 60.0, lesson="storm gate: suspect our own line"),
    Act("bits of a replica rot, and a scrub finds them",
        ("damage-replica any 33par-sql 3", "scrub-replica any 33par-sql")),
    Act("somebody deletes a file of a replica", ("lose-overlay any 33par-dc1",)),
    Act("change tracking of a VM is lost", ("lose-checkpoints any 33par-crm",),
        lesson="all read, only what differs sent", about="Replica/33par-crm"),
    Act("a crash leaves a backup job and its files", ("garbage 33par-esx2",)),
    Act("all cables between the sites are cut, and replicas grow stale",
        ("link metro/1 down", "link metro/2 down"), ("link metro/1 up", "link metro/2 up"), 240.0,
        lesson="every last restore point stayed"),
    Act("two copies of one VM run", ("second-copy 33par-odb 33mil-esx6",),
        ("shutoff 33mil-esx6 33par-odb", "undefine 33mil-esx6 33par-odb"), 30.0,
        lesson="nothing automatic; a human chose", doubles=True),
    Act("a commit adds a VLAN", edit=add_network),
    Act("a commit gives a VM more memory", edit=give_memory),
    Act("a commit moves a VM to the other site", edit=move_to_milan),
    *LOST_AND_FOUND,
    Act("a commit drains a host", edit=drain),
)
