"""Parses what BMCs answer, each in its dialect.

Rule 1: nothing is guessed: what is not told is empty, and another shape than Redfish's is an error.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from controller.errors import Refused

RESET: Final = "#ComputerSystem.Reset"
VALUES: Final = "ResetType@Redfish.AllowableValues"
COMPLAINT_LENGTH: Final = 160


@dataclass(frozen=True, slots=True)
class SystemAnswer:
    """The resource of one system."""

    state: str
    """Empty where it tells none."""
    uuid: str
    reset_path: str
    """Where a reset is sent; empty where it cannot be reset."""
    resets: tuple[str, ...] | None
    """None where they are not listed here."""
    info_path: str
    """Where they are listed instead, if anywhere."""


def as_object(content: Any, what: str) -> Mapping[str, Any]:
    """Return an answer that must be an object.

    Errors: ValueError.
    """
    if not isinstance(content, dict):
        raise ValueError(f"{what} is not a Redfish resource")    # a login page, or nothing
    return content


def text(value: Any) -> str:
    """Return a value if it is a text, else an empty one."""
    return value if isinstance(value, str) else ""


def texts(value: Any) -> tuple[str, ...] | None:
    """Return a list of texts; None if it is none."""
    if not isinstance(value, list):
        return None
    return tuple(one for one in value if isinstance(one, str))


def parse_sessions_path(content: Any) -> str:
    """Return where the root of a service says that sessions are opened; empty where nowhere.

    Errors: ValueError.
    """
    root = as_object(content, "the root")
    links, service = root.get("Links"), root.get("SessionService")
    sessions = links.get("Sessions") if isinstance(links, dict) else None
    if isinstance(sessions, dict) and text(sessions.get("@odata.id")):
        return text(sessions["@odata.id"])
    if isinstance(service, dict) and text(service.get("@odata.id")):
        return text(service["@odata.id"]).rstrip("/") + "/Sessions"
    return ""


def parse_members(content: Any) -> tuple[str, ...]:
    """Return the paths of all systems behind a BMC.

    Errors: ValueError.
    """
    members = as_object(content, "the list of systems").get("Members")
    if not isinstance(members, list):
        raise ValueError("the list of systems has no members")
    found = tuple(text(one.get("@odata.id")) for one in members if isinstance(one, dict))
    if "" in found or len(found) != len(members):
        raise ValueError("the list of systems names one without a path")
    return found


def choose_system(members: tuple[str, ...], wanted: str | None, host: str) -> str:
    """Return the path of a host's system: the one that its spec names, else the only one.

    Errors: Refused.
    """
    names = tuple(unquote(urlsplit(path).path.rstrip("/").rpartition("/")[2]) for path in members)
    listed = ", ".join(names)
    if wanted is not None:
        if names.count(wanted) != 1:
            raise Refused(f"there is no system `{wanted}` behind the BMC of {host}: there are"
                          f" {listed or 'none'}; correct `bmc.system` of Host/{host}")
        return members[names.index(wanted)]
    if len(members) != 1:
        raise Refused(f"{len(members)} systems are behind the BMC of {host} ({listed}): name the"
                      f" right one as `bmc.system` of Host/{host}")
    return members[0]


def parse_system(content: Any) -> SystemAnswer:
    """Return what one system says of its power.

    Errors: ValueError.
    """
    told = as_object(content, "the system")
    actions = told.get("Actions")
    reset = actions.get(RESET) if isinstance(actions, dict) else None
    reset = reset if isinstance(reset, dict) else {}
    return SystemAnswer(text(told.get("PowerState")), text(told.get("UUID")).lower(),
                        text(reset.get("target")), texts(reset.get(VALUES)),
                        text(reset.get("@Redfish.ActionInfo")))


def parse_reset_values(content: Any) -> tuple[str, ...]:
    """Return the resets that an ActionInfo lists; none where it lists none.

    Errors: ValueError.
    """
    parameters = as_object(content, "the list of resets").get("Parameters")
    for one in parameters if isinstance(parameters, list) else ():
        if isinstance(one, dict) and one.get("Name") == "ResetType":
            return texts(one.get("AllowableValues")) or ()
    return ()


def message_ids(content: Any) -> tuple[str, ...]:
    """Return the last words of the ids of all messages in an error, such as `NoPrivilege`."""
    error = content.get("error") if isinstance(content, dict) else None
    extended = error.get("@Message.ExtendedInfo") if isinstance(error, dict) else None
    found = extended if isinstance(extended, list) else [extended]
    return tuple(text(one.get("MessageId")).rpartition(".")[2] for one in found
                 if isinstance(one, dict))


def parse_complaint(body: bytes) -> str:
    """Return what an error says, as one short line; empty where it says nothing readable."""
    try:
        error = json.loads(body)["error"]
        extended = error.get("@Message.ExtendedInfo") or [{}]
        first = extended[0] if isinstance(extended, list) else extended
        said = text(first.get("Message")) or text(error.get("message")) or text(
            first.get("MessageId"))
    except (ValueError, KeyError, AttributeError, TypeError, IndexError, RecursionError):
        return ""
    plain = "".join(one if one.isprintable() else " " for one in said)
    return " ".join(plain.split())[:COMPLAINT_LENGTH]
