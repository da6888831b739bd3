"""
A BMC that answers over Redfish, in any of the dialects that real ones have, and with their lies.

A dialect is a row of DIALECTS: how long power takes to go, which words stand for it meanwhile,
whether there are sessions, where the resets are listed, what is said when nothing is left to do.
Where a dialect was met is said beside it. `plain` does all that the standard wants.

The BMC outlives the power of its host, keeps its sessions, and counts who tried to log in.
"""

import base64
import gzip
import json
import secrets
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Callable, Optional, Union

ROOT = "/redfish/v1"
SYSTEMS = f"{ROOT}/Systems"
SESSIONS = f"{ROOT}/SessionService/Sessions"
RESETS = ("On", "ForceOff", "GracefulShutdown", "ForceRestart")
MOST_SESSIONS = 4
MOST_BODY = 65536
HANG_S = 30.0
Json = Union[str, int, None, list["Json"], dict[str, "Json"]]


@dataclass(frozen=True)
class Dialect:
    """How one kind of BMC answers."""

    off_after_s: float = 0.0
    """From ForceOff until the power is gone."""
    cuts: bool = True
    meanwhile: Optional[str] = "On"
    """What it says of the power until then."""
    is_on: Optional[str] = "On"
    is_off: Optional[str] = "Off"
    sessions: bool = True
    basic: bool = True
    resets: tuple[str, ...] = RESETS
    listed: str = "here"
    """Where the resets are: here, elsewhere (an ActionInfo), or nowhere."""
    accepted: int = 204
    """The status of a reset that it does."""
    if_off: tuple[int, str] = (0, "")
    """Status and message id for a ForceOff when there is no power; 0: like any other."""
    fails_each: int = 0
    """Every so many reads fail with HTTP 500; 1: all."""
    empty_each: int = 0
    """Every so many reads of a system without power have no body."""
    systems: int = 1
    system_id: str = "1"
    hangs: bool = False
    page: bool = False
    """A login page for people, whatever is asked."""
    flood: bool = False
    """An answer without end."""
    elsewhere: str = ""
    """Where it sends everybody."""
    only_packed: bool = False
    """It turns down who wants plain answers."""
    absolute: bool = False
    """It names places with its own name before them."""


DIALECTS = {
    "plain": Dialect(),
    # 409 when off already; accepted long before it is done
    "idrac": Dialect(off_after_s=2.0, if_off=(409, "IDRAC.2.8.PSU501"),
                     system_id="System.Embedded.1"),
    # 400 when off already; names places in full, lists no resets, knows no Basic
    "ilo": Dialect(if_off=(400, "iLO.2.14.InvalidOperationForSystemState"), listed="nowhere",
                   basic=False, accepted=200, absolute=True, only_packed=True),
    # PoweringOff while in transition, and resets in a place of their own
    "openbmc": Dialect(off_after_s=4.0, meanwhile="PoweringOff", listed="elsewhere",
                       system_id="system"),
    # 200 with a body where others say 204
    "supermicro": Dialect(accepted=200),
    # an accepted task says nothing of the power
    "task202": Dialect(off_after_s=4.0, meanwhile="PoweringOff", accepted=202, sessions=False),
    "slow-off": Dialect(off_after_s=30.0, meanwhile="PoweringOff"),
    "stuck": Dialect(cuts=False, meanwhile="PoweringOff"),
    "liar": Dialect(cuts=False),
    "null-state": Dialect(meanwhile=None, is_on=None, is_off=None),
    "hangs": Dialect(hangs=True),
    "http500": Dialect(fails_each=1),
    "flaky": Dialect(fails_each=2),
    "empty-body": Dialect(empty_each=2),
    # a blade of several in one chassis; its id names it
    "chassis": Dialect(system_id="Node 3", sessions=False),
    "two": Dialect(systems=2),
    "no-forceoff": Dialect(resets=("On", "GracefulShutdown")),
    "html": Dialect(page=True),
    "flood": Dialect(flood=True),
    "moved": Dialect(elsewhere="https://192.0.2.1"),
}  # fmt: skip


class Bmc:
    """One host's BMC: its sessions, and what it was asked."""

    def __init__(self, uuid: str, is_on: Callable[[], bool], reset: Callable[[str], None],
                 dialect: Callable[[], str], credentials: tuple[str, str],
                 scale: float = 1.0) -> None:  # fmt: skip
        self.uuid, self.is_on, self.reset = uuid, is_on, reset
        self.name_of_dialect, self.credentials, self.scale = dialect, credentials, scale
        self.sessions: set[str] = set()
        self.logins = self.wrong_logins = self.reads = self.force_offs = 0
        self.going_since_s: Optional[float] = None
        self.lock = threading.Lock()

    @property
    def dialect(self) -> Dialect:
        """Return how it answers now."""
        return DIALECTS[self.name_of_dialect()]

    def power_state(self) -> Optional[str]:
        """Return what it says of the power."""
        if not self.is_on():
            return self.dialect.is_off
        return self.dialect.is_on if self.going_since_s is None else self.dialect.meanwhile

    def do(self, kind: str) -> None:
        """Do a reset, or begin to."""
        if kind != "ForceOff" or not self.is_on():
            self.going_since_s = None
            self.reset(kind)
        elif self.going_since_s is None:
            self.going_since_s = time.monotonic()
            delay_s = self.dialect.off_after_s * self.scale
            if self.dialect.cuts and not delay_s:
                self.cut()
            elif self.dialect.cuts:
                timer = threading.Timer(delay_s, self.cut)
                timer.daemon = True
                timer.start()

    def cut(self) -> None:
        """Take the power away."""
        self.reset("ForceOff")
        self.going_since_s = None


class Handler(BaseHTTPRequestHandler):
    """Answers for the BMC of its server."""

    server: "BmcServer"
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing: what is sent here holds passwords."""

    @property
    def bmc(self) -> Bmc:
        """Return the BMC."""
        return self.server.bmc

    def do_GET(self) -> None:
        """Answer with a resource."""
        if self.odd_answer():
            return None
        if not self.is_authorised() and self.place() != ROOT:
            return self.complain(401, "Base.1.8.NoValidSession", "who are you?")
        if self.is_failing():
            return self.complain(500, "IDRAC.2.8.SYS518", "it is not ready yet")
        found = self.resources().get(self.place())
        if found is None:
            return self.complain(404, "Base.1.8.ResourceMissingAtURI", "no such thing")
        dialect = self.bmc.dialect
        if dialect.empty_each and not self.bmc.is_on() and not self.bmc.reads % dialect.empty_each:
            return self.answer(200, None)
        return self.answer(200, found, ETag='W/"1"')

    def do_POST(self) -> None:
        """Open a session, or reset the host."""
        body = self.rfile.read(min(int(self.headers.get("Content-Length") or 0), MOST_BODY))
        try:
            told = json.loads(body)
        except ValueError:
            told = {}
        if self.odd_answer():
            return None
        if self.place() == SESSIONS and self.bmc.dialect.sessions:
            return self.open_session(told)
        if not self.is_authorised():
            return self.complain(401, "Base.1.8.NoValidSession", "who are you?")
        kind = told.get("ResetType")
        if not self.place().endswith("/Actions/ComputerSystem.Reset"):
            return self.complain(404, "Base.1.8.ResourceMissingAtURI", "no such thing")
        if kind not in self.bmc.dialect.resets:
            return self.complain(400, "Base.1.8.ActionParameterNotSupported",
                                 f"reset is one of {', '.join(self.bmc.dialect.resets)}")
        return self.reset(kind)

    def do_DELETE(self) -> None:
        """Close a session."""
        with self.bmc.lock:
            self.bmc.sessions.discard(self.headers.get("X-Auth-Token") or "")
        self.answer(204, None)

    def reset(self, kind: str) -> None:
        """Do a reset and say what this dialect says of it."""
        bmc, dialect = self.bmc, self.bmc.dialect
        with bmc.lock:
            bmc.force_offs += kind == "ForceOff"
            if kind == "ForceOff" and not bmc.is_on() and dialect.if_off[0]:
                return self.complain(*dialect.if_off, "the host is off already")
            try:
                bmc.do(kind)
            except RuntimeError as error:
                return self.complain(500, "Base.1.8.InternalError", str(error))
        if dialect.accepted == 202:
            return self.answer(202, {"TaskState": "Running"}, Location=f"{ROOT}/TaskMonitors/7")
        if dialect.accepted == 200:
            return self.answer(200, {"error": {"code": "Base.1.8.Success", "message": "Success"}})
        return self.answer(204, None)

    def open_session(self, told: dict) -> None:
        """Let somebody in who knows the name and the password."""
        bmc = self.bmc
        with bmc.lock:
            bmc.logins += 1
            if (told.get("UserName"), told.get("Password")) != bmc.credentials:
                bmc.wrong_logins += 1
                return self.complain(401, "Base.1.8.ResourceAtUriUnauthorized", "wrong password")
            if len(bmc.sessions) >= MOST_SESSIONS:
                return self.complain(503, "Base.1.8.CreateLimitReachedForResource", "all taken")
            token = secrets.token_urlsafe(16)
            bmc.sessions.add(token)
        host = f"https://{self.headers.get('Host')}" if bmc.dialect.absolute else ""
        return self.answer(201, {}, X_Auth_Token=token, Location=f"{host}{SESSIONS}/{token[:6]}")

    def is_authorised(self) -> bool:
        """Say whether a request bears a session's token, or the right name and password."""
        bmc = self.bmc
        with bmc.lock:
            if self.headers.get("X-Auth-Token") in bmc.sessions:
                return True
            given = self.headers.get("Authorization")
            if given is None or not bmc.dialect.basic:
                return False
            wanted = base64.b64encode(":".join(bmc.credentials).encode()).decode()
            right = secrets.compare_digest(given, f"Basic {wanted}")
            bmc.logins += 1
            bmc.wrong_logins += not right
            return right

    def odd_answer(self) -> bool:
        """Answer as no Redfish service should, if this dialect does."""
        dialect = self.bmc.dialect
        if dialect.hangs:
            self.server.stopping.wait(HANG_S)
            self.close_connection = True
        elif dialect.page:
            self.send(200, b"<html><title>Please log in</title></html>", "text/html")
        elif dialect.elsewhere:
            self.answer(307, None, Location=f"{dialect.elsewhere}{self.path}")
        elif dialect.flood:
            self.send(200, b'{"Members": [' + b" " * (2 << 20) + b"]}", "application/json")
        elif dialect.only_packed and self.headers.get("Accept-Encoding") == "identity":
            self.complain(406, "Base.1.8.NotAcceptable", "packed, or not at all")
        else:
            return False
        return True

    def is_failing(self) -> bool:
        """Count a read, and say whether it is one that fails."""
        with self.bmc.lock:
            self.bmc.reads += 1
            each = self.bmc.dialect.fails_each
            return bool(each) and self.bmc.reads % each == 0

    def place(self) -> str:
        """Return the path that was asked for."""
        return self.path.partition("?")[0].rstrip("/")

    def resources(self) -> dict[str, Json]:
        """Return all that can be read, by path."""
        dialect = self.bmc.dialect
        first = f"{SYSTEMS}/{dialect.system_id}".replace(" ", "%20")
        members = [first, *(f"{SYSTEMS}/other-{number}" for number in range(1, dialect.systems))]
        root: dict[str, Json] = {"@odata.id": ROOT, "Systems": {"@odata.id": SYSTEMS}}
        if dialect.sessions:
            root["Links"] = {"Sessions": {"@odata.id": SESSIONS}}
        return {
            ROOT: root,
            SYSTEMS: {"@odata.id": SYSTEMS, "Members": [{"@odata.id": path} for path in members]},
            f"{first}/ResetActionInfo": {"Parameters": [
                {"Name": "ResetType", "AllowableValues": list(dialect.resets)}]},
            first: self.system(first),
        }  # fmt: skip

    def system(self, path: str) -> Json:
        """Return the resource of the host."""
        dialect = self.bmc.dialect
        reset: dict[str, Json] = {"target": f"{path}/Actions/ComputerSystem.Reset"}
        if dialect.listed == "here":
            reset["ResetType@Redfish.AllowableValues"] = list(dialect.resets)
        elif dialect.listed == "elsewhere":
            reset["@Redfish.ActionInfo"] = f"{path}/ResetActionInfo"
        return {
            "@odata.id": path,
            "@odata.type": "#ComputerSystem.v1_5_0.ComputerSystem",
            "Id": dialect.system_id,
            "UUID": self.bmc.uuid,
            "PowerState": self.bmc.power_state(),
            "Actions": {"#ComputerSystem.Reset": reset},
        }

    def complain(self, status: int, message_id: str, message: str) -> None:
        """Send an error."""
        extended: Json = [{"MessageId": message_id, "Message": message}]
        self.answer(status, {"error": {"code": message_id, "@Message.ExtendedInfo": extended}})

    def answer(self, status: int, content: Json, **headers: str) -> None:
        """Send one answer."""
        body = b"" if content is None else json.dumps(content).encode()
        self.send(status, body, "application/json", **headers)

    def send(self, status: int, body: bytes, kind: str, **headers: str) -> None:
        """Send bytes."""
        packed = self.bmc.dialect.only_packed and status not in (204, 406)
        body = gzip.compress(body) if packed else body
        try:
            self.send_response(status)
            if packed:
                self.send_header("Content-Encoding", "gzip")
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            if status != 204:
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
        except OSError:
            self.close_connection = True  # whoever asked waits no more


class BmcServer(ThreadingHTTPServer):
    """The BMC of one host; the handshake happens in each request's thread."""

    daemon_threads = True

    def __init__(self, address: tuple[str, int], bmc: Bmc) -> None:
        """Listen; the caller wraps the socket."""
        super().__init__(address, Handler)
        self.bmc = bmc
        self.stopping = threading.Event()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that hung up, or that does not believe the certificate."""
