"""Serve the BMCs of one site over Redfish; they outlive their hosts' power."""

import json
import ssl
import sys
import threading

import nodes
import processes
from bmc import CERTIFICATE, CREDENTIALS, KEY
from layout import STATE, Node, Topology, load_topology
from redfish import DIALECTS, Bmc, BmcServer
from shell import LabError

one_at_a_time = threading.Lock()


def reset(host: Node, topology: Topology, kind: str) -> None:
    """Do one kind of reset to a host."""
    with one_at_a_time:
        try:
            if kind == "GracefulShutdown":
                nodes.press_power_button(host)
            if kind in ("ForceOff", "ForceRestart"):
                nodes.power_off(host, topology)
            if kind in ("On", "ForceRestart"):
                nodes.power_on(host, topology)
        except LabError as error:
            raise RuntimeError(str(error)) from error


def dialect_of(host: Node) -> str:
    """Return how the host's BMC answers now: as `lab break bmc-dialect` said last."""
    try:
        name = (STATE / f"nodes/{host.name}.dialect").read_text().strip()
    except FileNotFoundError:
        return "plain"
    return name if name in DIALECTS else "plain"


def serve(host: Node, topology: Topology, context: ssl.SSLContext) -> BmcServer:
    """Listen on the host's BMC address; the handshake happens in each request's thread."""
    known = json.loads(CREDENTIALS.read_text())
    bmc = Bmc(
        str(nodes.uuid_of(host, "machine")),
        lambda: bool(processes.first_process(host.name)),
        lambda kind: reset(host, topology, kind),
        lambda: dialect_of(host),
        (known["username"], known["password"]),
    )
    server = BmcServer((host.address("bmc"), 443), bmc)
    server.socket = context.wrap_socket(
        server.socket, server_side=True, do_handshake_on_connect=False
    )
    return server


def main() -> None:
    """Serve the BMCs of the site named on the command line until killed."""
    site, topology = sys.argv[1], load_topology()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    all_servers = [serve(host, topology, context) for host in topology.hosts if host.site == site]
    threads = [threading.Thread(target=server.serve_forever) for server in all_servers]
    for thread in threads:
        thread.start()
    (STATE / f"nodes/bmc-{site}.ready").touch()


if __name__ == "__main__":
    main()
