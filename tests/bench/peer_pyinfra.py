"""pyinfra gathering a host's basic facts, as a process of its own: endpoints in, CPU times out.

Standard input: JSON {"endpoints": [{name, address, port, user, key_file, known_hosts}], "rounds"}.
"""

import json
import sys
import time
from typing import Any

from pyinfra.api import Config, Inventory, State
from pyinfra.api.connect import connect_all, disconnect_all
from pyinfra.api.facts import get_facts
from pyinfra.facts.hardware import Cpus
from pyinfra.facts.server import Arch, Command, Date, LoadAverage

FACTS: tuple[tuple[Any, dict[str, str]], ...] = (
    (Cpus, {}), (LoadAverage, {}), (Arch, {}), (Date, {}),
    (Command, {"command": "cat /proc/meminfo"}),
    (Command, {"command": "cat /proc/sys/kernel/random/boot_id"}),
)


def main() -> None:
    """Connect to all, gather so many times, and say what each time cost in CPU seconds."""
    asked = json.load(sys.stdin)
    hosts = [(e["name"], {
        "ssh_hostname": e["address"], "ssh_port": e["port"], "ssh_user": e["user"],
        "ssh_key": e["key_file"], "ssh_known_hosts_file": e["known_hosts"],
        "ssh_strict_host_key_checking": "yes", "ssh_allow_agent": False,
        "ssh_look_for_keys": False}) for e in asked["endpoints"]]
    state = State(Inventory((hosts, {})), Config(PARALLEL=len(hosts), CONNECT_TIMEOUT=60))
    began = time.process_time()
    connect_all(state)
    connected = time.process_time() - began
    rounds, told = [], {}
    for _ in range(asked["rounds"]):
        began, wall = time.process_time(), time.perf_counter()
        told = {f"{fact.__name__} {kwargs}": get_facts(state, fact, kwargs=kwargs)
                for fact, kwargs in FACTS}
        rounds.append((time.process_time() - began, time.perf_counter() - wall))
    missing = [name for name, values in told.items()
               if len(values) != len(hosts) or not all(values.values())]
    disconnect_all(state)
    json.dump({"connected": connected, "rounds": rounds, "missing": missing}, sys.stdout)


if __name__ == "__main__":
    main()
