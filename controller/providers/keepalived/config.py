"""keepalived's configuration: rendered from the instances of a switch, and read back.

It begins with a comment that says what the rest was rendered from, and the hash of the rest: so any
look at the file shows whether somebody has edited it, and what it held when we wrote it. A long
comment goes over several lines: keepalived reads a line in pieces of 1023 characters, and takes the
second piece of a comment for configuration.

Every instance begins as backup and preempts: which switch holds an address follows from priorities
alone, which the plan chooses by the sites' roles. Advertisements are VRRPv3's, five a second, so
that a switch that died is replaced within 0.7 s. keepalived raises the ports and gives the switch
its own addresses itself, each time that it starts: nothing else of the switch has to know of them.
"""

import hashlib
import json
from dataclasses import asdict
from typing import Final

from pydantic import TypeAdapter, ValidationError

from controller.model.linux.keepalived import ConfigState, VrrpInstance

ADDRESSES: Final = "/etc/keepalived/hotsite.ip"
MARK: Final = "# hotsite "
LINE: Final = 900
ADVERT_S: Final = 0.2
INSTANCES: Final = TypeAdapter(tuple[VrrpInstance, ...])
GLOBAL: Final = """\
# Written by hotsite from Network.gateway. To change it, change the specs.
global_defs {{
    router_id {name}
    vrrp_version 3
    script_user root
    enable_script_security
    startup_script "/sbin/ip -force -batch {addresses}"
    startup_script_timeout 5
    vrrp_garp_master_delay 1
    vrrp_garp_master_repeat 3
    vrrp_garp_master_refresh 10
    vrrp_garp_lower_prio_repeat 1
}}
"""
INSTANCE: Final = """\

vrrp_instance {network} {{
    state BACKUP
    interface {port}
    virtual_router_id {vrid}
    priority {priority}
    advert_int {advert_s}
    virtual_ipaddress {{
        {address} dev {port}
    }}
}}
"""


def render_config(name: str, instances: tuple[VrrpInstance, ...]) -> str:
    """Return the configuration of a switch's keepalived."""
    body = GLOBAL.format(name=name, addresses=ADDRESSES) + "".join(
        INSTANCE.format(**asdict(one), advert_s=ADVERT_S) for one in sorted(instances))
    told = {"name": name, "sum": sum_of(body),
            "instances": [asdict(one) for one in sorted(instances)]}
    words = json.dumps(told, sort_keys=True)
    return "".join(f"{MARK}{words[at:at + LINE]}\n" for at in range(0, len(words), LINE)) + body


def render_addresses(instances: tuple[VrrpInstance, ...]) -> str:
    """Return the commands for `ip -batch` that give a switch its own addresses."""
    return "".join(f"link set dev {one.port} up\naddress replace {one.own} dev {one.port}\n"
                   for one in sorted(instances))


def sum_of(body: str) -> str:
    """Return the hash that the comment at the beginning holds."""
    return hashlib.sha256(body.encode()).hexdigest()[:32]


def parse_config(text: str | None) -> tuple[ConfigState, tuple[VrrpInstance, ...]]:
    """Return whose work a configuration is, and what it was rendered from if it was ever ours."""
    if text is None or not text.strip():
        return ConfigState.MISSING, ()
    if not text.startswith(MARK):
        return ConfigState.FOREIGN, ()
    words, body = "", text
    while body.startswith(MARK):
        line, _, body = body.partition("\n")
        words += line.removeprefix(MARK)
    try:
        told = json.loads(words)
        instances = INSTANCES.validate_python(told["instances"])
        name, unchanged = str(told["name"]), told["sum"] == sum_of(body)
    except (ValueError, KeyError, TypeError, ValidationError):
        return ConfigState.EDITED, ()
    if not unchanged:
        return ConfigState.EDITED, instances
    ours = render_config(name, instances) == text
    return ConfigState.OURS if ours else ConfigState.OUTDATED, instances
