"""Pages as HTML: the templates, and how instants and sizes are written in them."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from fastapi.responses import HTMLResponse
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from controller.errors import JournalUnavailable
from controller.model.units import render_duration, render_size
from controller.reconcile.inspect.head import glass_of

if TYPE_CHECKING:
    from controller.web.app import Web

PATHS = {"Site": "sites", "Host": "hosts", "VirtualMachine": "vms", "Network": "networks",
         "Switch": "switches", "InterSiteLink": "links", "Witness": "witnesses"}


@cache
def environment() -> Environment:
    """Return the templates; everything that is put into them is escaped."""
    made = Environment(loader=PackageLoader("controller.web"), autoescape=True,
                       undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    made.filters.update(duration=lambda age_s: render_duration(float(max(0, int(age_s)))),
                        size=render_size, told=told, indented=indented,
                        instant=instant, path=path, name=lambda target: target.partition("/")[2])
    return made


def render(template: str, web: "Web", status: int = 200, *,
           headers: Mapping[str, str] | None = None, **values: Any) -> HTMLResponse:
    """Return a page with what all pages need."""
    desk, glass = web.feed.desk, None
    with suppress(JournalUnavailable):      # the page says by itself that it cannot be read
        glass = glass_of(web.store)
    text = environment().get_template(template).render(
        desk=desk, now_at=web.clock(), began=web.feed.began, fault=web.feed.fault, glass=glass,
        **({"caller": None, "done": ""} | values))
    return HTMLResponse(text, status, headers={**(headers or {}), "cache-control": "no-store"})


def told(sentence: str) -> Markup:
    """Return a sentence, its commands as commands."""
    parts = re.split(r"`([^`]+)`", sentence)
    return Markup("").join(Markup("<code>{}</code>").format(part) if index % 2 else part
                           for index, part in enumerate(parts))


def indented(content: object) -> str:
    """Return a document as JSON for eyes."""
    return json.dumps(content, indent=2, ensure_ascii=False)


def instant(at: float) -> str:
    """Return an instant in the time of this machine."""
    return datetime.fromtimestamp(at, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")


def path(target: str) -> str:
    """Return the path of an object's page; empty where it has none."""
    kind, _, name = target.partition("/")
    return f"/{PATHS[kind]}/{name}" if kind in PATHS else ""
