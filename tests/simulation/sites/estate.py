"""A small estate that may fail over by itself: two sites, guards, BMCs and a witness elsewhere."""

from dataclasses import replace
from functools import cache

from controller.model.desired import Desired
from tests.simulation.estates import LIMITS, document, storm_estate, vm

PLACE = "office"
"""Where the controller stands: at no site, and not beside the witness."""
QUICK = {"rpo": "60s", "keep": {"last": 2}, "verify": "1h", "maxAge": "1h"}
BMC = {"driver": "redfish", "credentials": {"file": "/b"}, "caFile": "/c"}


@cache
def site_estate() -> Desired:
    """Return it: at paris a VM with two disks, a group of two, one that waits for a person."""
    base = storm_estate("failover")
    hosts = {f"{site}-{n}": document(
        "Host", f"{site}-{n}", site=site, address=f"10.0.{at}.{n}",
        capacity={"memory": "16GiB", "cpus": 16}, acceptFreeze=True,
        bmc={**BMC, "url": f"https://{site}-{n}"})
        for at, site in enumerate(("paris", "milan")) for n in (1, 2)}
    disks = [{"name": "vda", "size": "2GiB"}, {"name": "vdb", "size": "1GiB"}]
    machines = (
        vm("sql", 1, placement={"host": "paris-1"}, startOrder=10, protection="auto", disks=disks),
        vm("web", 2, placement={"site": "paris"}, network="dmz", protection="auto", group="shop"),
        vm("mail", 3, placement={"site": "paris"}, protection="auto", group="shop"),
        vm("wiki", 4, placement={"site": "paris"}, protection="asked"),
        vm("files", 5, placement={"host": "milan-1"}, memory="2GiB", protection="auto"),
        vm("proxy", 6, placement={"site": "milan"}, network="dmz"),
    )
    estate = document("Estate", "storm", autonomy="failover", limits=LIMITS,
                      ssh={"keyFile": "/k", "knownHosts": "/h"},
                      failover={"guard": {"keyFile": "/g"}})
    return replace(
        base, estate=estate, hosts=hosts,
        witnesses={"hq": document("Witness", "hq", address="10.0.2.1", place="hq")},
        protection_policies={
            "auto": document("ProtectionPolicy", "auto", failover="automatic", isolation="stop",
                             **QUICK),
            "asked": document("ProtectionPolicy", "asked", failover="confirm", isolation="stop",
                              **QUICK)},
        virtual_machines={one.name: one for one in machines})
