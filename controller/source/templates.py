"""The domain XML files that new machines start from; each is read once, wherever it is named."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from controller.source.files import Found, read_file
from controller.source.problems import Problem
from controller.source.strangers import clashes_with, strangers_in
from controller.source.unread import pointer

TEMPLATE_CHARACTERS = 1 << 20


class NotATemplate(NamedTuple):
    """Why a file cannot be used, as a sentence."""

    sentence: str


def load_template(root: Path, spec_file: str, template: str) -> str | NotATemplate:
    """Return the text of `template`, a path relative to `spec_file` below `root`."""
    path = (root / spec_file).parent / template
    try:
        real = path.resolve(strict=False)
        inside = real.is_relative_to(root)
        exists = inside and real.exists()
    except (OSError, ValueError, RuntimeError):
        return NotATemplate("is not a path: write one relative to this file")
    if not inside:
        return NotATemplate("is outside the folder of the specs: copy it into the folder")
    if not exists:
        return NotATemplate("is not there: correct the path, which is relative to this file")
    data = read_file(Found(template, real))
    if isinstance(data, Problem):
        return NotATemplate(data.sentence)
    return parse_template(data)


def parse_template(data: bytes) -> str | NotATemplate:
    """Return the text of domain XML, or why it is none."""
    if len(data) > TEMPLATE_CHARACTERS:
        return NotATemplate("is larger than 1 MiB: that is no domain XML")
    if pointer(data):
        return NotATemplate(f"is {pointer(data)}")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return NotATemplate("is not UTF-8: convert it")
    names: list[str] = []
    traps: list[str] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda name, _: names.append(name) if not names else None
    parser.StartDoctypeDeclHandler = lambda *_: traps.append("DOCTYPE")
    try:
        parser.Parse(text, True)
    except expat.ExpatError as error:
        return NotATemplate(f"is not XML: line {error.lineno}:"
                            f" {expat.ErrorString(error.code)}: correct it")
    if traps:
        return NotATemplate("holds a DOCTYPE: remove it")
    if names != ["domain"]:
        return NotATemplate(f"begins with <{names[0]}>: a template is one <domain>")
    found = "; ".join(dict.fromkeys(strangers_in(ET.fromstring(text))))
    return NotATemplate(f"has {found}") if found else text


def fit_template(text: str, disks: Iterable[str]) -> NotATemplate | None:
    """Return why a machine with these disks cannot be made of a template; None when it can."""
    found = "; ".join(dict.fromkeys(clashes_with(ET.fromstring(text), disks)))
    return NotATemplate(f"has {found}") if found else None
