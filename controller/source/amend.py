"""Add to a folder of specs that people have edited: every line of theirs stays as it is.

A new document goes to the end of its file. A new item goes into a sequence of a document that is
there: behind its last item, or, where the sequence is missing, as the first field of the spec. The
place is found by the parser's marks, and nothing but the new text is written. A document whose spec
is written on one line has no such place: then a person is told what to add.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import yaml

from controller.adoption.text import flow, render_document, render_file
from controller.model.desired import Desired
from controller.source.positions import child, compose
from controller.source.problems import SourceText
from controller.source.yaml import split


def amend(before: Mapping[str, str], documents: Mapping[str, Sequence[Any]],
          heads: Mapping[str, Sequence[str]]) -> dict[str, str]:
    """Return the files of a folder with documents added, each at the end of its file."""
    after = dict(before)
    for file, some in documents.items():
        if file not in after:
            after[file] = render_file(some, heads.get(file, ()))
            continue
        text = after[file]
        if text and not text.endswith("\n"):
            text += "\n"
        after[file] = text + "".join(f"---\n{render_document(one)}" for one in some)
    return after


def with_items(files: Mapping[str, str], declared: Desired,
               added: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]],
               ) -> tuple[dict[str, str], list[str]]:
    """Return the files with items added to lists of specs, and sentences for what has no place.

    Shapes: `added` by object, as `Host/…`: each item with the name of its list.
    """
    after, unplaced = dict(files), []
    places = {one: declared.places.get(one) for one in added}
    # the last document first: what is added moves those below it
    for one in sorted(added, key=lambda one: -(place.line if (place := places[one]) else 0)):
        place = places[one]
        for name, item in added[one]:
            text = None if place is None or place.file not in after else with_item(
                after[place.file], place.line, name, flow(item))
            if text is None or place is None:
                unplaced.append(f"{one} needs one more item in its `{name}`, which a person has to"
                                f" add: {flow(item)}")
            else:
                after[place.file] = text
    return after, unplaced


def with_item(text: str, line: int, field: str, item: str) -> str | None:
    """Return a file with one more item in a sequence of the spec of the document at a line.

    None where there is no place for it.
    """
    chunk = next((one for one in split(SourceText("", text)) if one.line == line), None)
    root = None if chunk is None else compose(chunk.text)
    if chunk is None or root is None:
        return None
    spec = child(root, "spec")[1]
    if not isinstance(spec, yaml.MappingNode) or spec.flow_style or not spec.value:
        return None
    _, found = child(spec, field)
    lines = chunk.text.split("\n")
    if found is None:
        first = spec.value[0][0].start_mark
        margin = " " * first.column
        lines[first.line:first.line] = [f"{margin}{field}:", f"{margin}  - {item}"]
    elif not isinstance(found, yaml.SequenceNode):
        return None
    elif found.flow_style:
        end = found.end_mark
        head, tail = lines[end.line][:end.column - 1], lines[end.line][end.column - 1:]
        lines[end.line] = f"{head}{', ' if found.value else ''}{item}{tail}"
    else:
        last = found.value[-1]
        dash = lines[last.start_mark.line].index("-")
        after = last_line(last) + 1
        lines[after:after] = [f"{' ' * dash}- {item}"]
    return text[:chunk.start] + "\n".join(lines) + text[chunk.end:]


def last_line(node: yaml.Node) -> int:
    """Return the line that a node ends on; the mark of a block stands at what follows it."""
    if isinstance(node, yaml.CollectionNode) and not node.flow_style and node.value:
        last = node.value[-1]
        return last_line(last[1] if isinstance(last, tuple) else last)
    mark: yaml.Mark = node.end_mark
    return mark.line if mark.column else mark.line - 1
