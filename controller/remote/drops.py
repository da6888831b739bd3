"""List the flows with which hotsite has a switch drop frames, as JSON rows.

They bear a cookie of ours: `hots` in its upper half, the epoch of a failover in the lower. Flows of
others are not asked for.
"""

import json
import re
import shutil

from programs import NoAnswer, output_of, run_all

OFCTL = "ovs-ofctl"
OURS = "cookie=0x686f747300000000/0xffffffff00000000"
FLOW = re.compile(r"cookie=0x686f7473([0-9a-f]{8}),.*?in_port=\"?([^,\" ]+)\"?"
                  r",dl_src=([0-9a-f:]{17}) actions=drop")


def drops_of(bridges: list) -> str:
    """Return the rows of all bridges; NoAnswer if any of them does not answer."""
    if not shutil.which(OFCTL):
        raise NoAnswer(f"{OFCTL} is not installed there")
    outputs = run_all({name: (OFCTL, "--timeout=4", "--names", "--no-stats", "dump-flows", name,
                              OURS) for name in bridges})
    rows = []
    for name in bridges:
        text = output_of(outputs[name], f"the flow table of {name}")
        rows += [{"bridge": name, "port": port, "mac": mac, "epoch": int(epoch, 16)}
                 for epoch, port, mac in FLOW.findall(text)]
    return json.dumps(sorted(rows, key=lambda row: sorted(map(str, row.items()))))


def bridge_names(tables: str) -> list:
    """Return the names of the bridges in Open vSwitch's tables."""
    table = json.loads(tables)["Bridge"]
    at = table["headings"].index("name")
    return sorted(row[at] for row in table["data"])
