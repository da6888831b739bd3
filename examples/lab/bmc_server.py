"""Serve the BMCs of one site: a small Redfish service per host, which outlives the host's power."""

import base64
import hmac
import json
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Union

import nodes
import processes
from bmc import CERTIFICATE, CREDENTIALS, KEY
from layout import STATE, Node, Topology, load_topology
from shell import LabError

SYSTEM = "/redfish/v1/Systems/1"
RESET = f"{SYSTEM}/Actions/ComputerSystem.Reset"
RESETS = ("On", "ForceOff", "GracefulShutdown", "ForceRestart")
Json = Union[str, int, None, list["Json"], dict[str, "Json"]]
one_at_a_time = threading.Lock()


def reset(host: Node, topology: Topology, kind: str) -> None:
    """Do one kind of reset to a host."""
    with one_at_a_time:
        if kind == "GracefulShutdown":
            nodes.press_power_button(host)
        if kind in ("ForceOff", "ForceRestart"):
            nodes.power_off(host, topology)
        if kind in ("On", "ForceRestart"):
            nodes.power_on(host, topology)


def render_system(host: Node) -> Json:
    """Return the Redfish resource that describes a host."""
    return {
        "@odata.id": SYSTEM,
        "@odata.type": "#ComputerSystem.v1_5_0.ComputerSystem",
        "Id": "1",
        "Name": host.name,
        "PowerState": "On" if processes.first_process(host.name) else "Off",
        "Actions": {
            "#ComputerSystem.Reset": {
                "target": RESET,
                "ResetType@Redfish.AllowableValues": list(RESETS),
            }
        },
    }


def expected_authorization() -> str:
    """Return the header that an authorised request bears."""
    known = json.loads(CREDENTIALS.read_text())
    pair = f"{known['username']}:{known['password']}"
    return "Basic " + base64.b64encode(pair.encode()).decode()


class Handler(BaseHTTPRequestHandler):
    """Answer for one host; its server says which."""

    server: "Server"

    def do_GET(self) -> None:
        """Answer with one of the three resources."""
        if not self.is_authorised():
            return self.answer(401, {"error": {"message": "who are you?"}})
        resources: dict[str, Json] = {
            "/redfish/v1": {"@odata.id": "/redfish/v1", "Systems": {"@odata.id": SYSTEM[:-2]}},
            SYSTEM[:-2]: {"@odata.id": SYSTEM[:-2], "Members": [{"@odata.id": SYSTEM}]},
            SYSTEM: render_system(self.server.host),
        }
        found = resources.get(self.path.rstrip("/"))
        return self.answer(200 if found else 404, found or {"error": {"message": "no such thing"}})

    def do_POST(self) -> None:
        """Reset the host as asked."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), 65536))
        if not self.is_authorised():
            return self.answer(401, {"error": {"message": "who are you?"}})
        try:
            asked = json.loads(body)["ResetType"]
        except (ValueError, KeyError, TypeError):
            asked = None
        if self.path.rstrip("/") != RESET or asked not in RESETS:
            return self.answer(400, {"error": {"message": f"reset is one of {', '.join(RESETS)}"}})
        try:
            reset(self.server.host, self.server.topology, asked)
        except LabError as error:
            return self.answer(500, {"error": {"message": str(error)}})
        return self.answer(204, None)

    def is_authorised(self) -> bool:
        """Say whether the request bears the right name and password."""
        given = self.headers.get("Authorization") or ""
        return hmac.compare_digest(given.encode(), self.server.authorization.encode())

    def answer(self, status: int, content: Json) -> None:
        """Send one answer."""
        body = b"" if content is None else json.dumps(content).encode()
        self.send_response(status)
        if status == 401:
            self.send_header("WWW-Authenticate", 'Basic realm="bmc"')
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Server(ThreadingHTTPServer):
    """The BMC of one host."""

    daemon_threads = True

    def __init__(self, host: Node, topology: Topology, context: ssl.SSLContext) -> None:
        """Listen on the host's BMC address; the handshake happens in each request's thread."""
        super().__init__((host.address("bmc"), 443), Handler)
        self.host, self.topology = host, topology
        self.authorization = expected_authorization()
        self.socket = context.wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )


def main() -> None:
    """Serve the BMCs of the site named on the command line until killed."""
    site, topology = sys.argv[1], load_topology()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE, KEY)
    all_servers = [Server(h, topology, context) for h in topology.hosts if h.site == site]
    threads = [threading.Thread(target=server.serve_forever) for server in all_servers]
    for thread in threads:
        thread.start()
    (STATE / f"nodes/bmc-{site}.ready").touch()


if __name__ == "__main__":
    main()
