"""Positions of fields in the text: a second parse of one document, made only for error messages.

The fast parser gives values without positions; this one gives nodes with marks. Both are built on
libyaml, so that they agree on what is a node.
"""

from collections.abc import Iterator
from functools import lru_cache
from typing import NamedTuple

import yaml

Path = tuple[str | int, ...]

CORE_TAGS = "tag:yaml.org,2002:"
EXPANDED_NODES = 100_000  # a hand-written document has a few dozen
COMPOSED_CHARACTERS = 1 << 20  # half a second; in a longer document only its first line is named


class Spot(NamedTuple):
    """A line and a column, both counted from one."""

    line: int
    column: int


def spot(mark: yaml.Mark) -> Spot:
    """Return the position of `mark`, counted as editors count."""
    return Spot(mark.line + 1, mark.column + 1)


@lru_cache(maxsize=4)
def compose(text: str) -> yaml.Node | None:
    """Return the node tree of one document; None if it is too long or cannot be parsed."""
    if len(text) > COMPOSED_CHARACTERS:
        return None
    try:
        return yaml.compose(text, Loader=yaml.CSafeLoader)
    except (yaml.YAMLError, UnicodeError):
        return None


def locate(text: str, path: Path, *, at_key: bool) -> Spot | None:
    """Return the position of the field at `path` in `text`: of its value, or of its name.

    A path that leads nowhere gives the last position on the way; None if `text` has no nodes.
    """
    node = compose(text)
    if node is None:
        return None
    found = spot(node.start_mark)
    for depth, step in enumerate(path):
        key, node = child(node, step)
        if node is None or key is None:
            return found
        found = spot(key.start_mark if at_key and depth == len(path) - 1 else node.start_mark)
    return found


def child(node: yaml.Node, step: str | int) -> tuple[yaml.Node | None, yaml.Node | None]:
    """Return the key and the value below `node` at `step`; of a repeated key the last."""
    if isinstance(node, yaml.MappingNode):
        for key, value in reversed(node.value):
            if key.value == str(step):
                return key, value
    elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
        return node.value[step], node.value[step]
    return None, None


def nodes(root: yaml.Node) -> Iterator[yaml.Node]:
    """Yield every node once, without recursion, aliases followed once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        yield node
        waiting += children(node)


def children(node: yaml.Node) -> list[yaml.Node]:
    """Return the nodes directly below, keys included."""
    if isinstance(node, yaml.MappingNode):
        return [item for pair in node.value for item in pair]
    return list(node.value) if isinstance(node, yaml.SequenceNode) else []


def repeated_keys(text: str) -> list[tuple[Spot, str, Spot]]:
    """Return each key that stands twice in one mapping: where, its name, where it was first."""
    root = compose(text)
    found = []
    for node in nodes(root) if root is not None else ():
        first: dict[str, Spot] = {}
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode):
                where = spot(key.start_mark)
                if first.setdefault(key.value, where) != where:
                    found.append((where, key.value, first[key.value]))
    return sorted(found)


def odd_keys(text: str) -> list[Spot]:
    """Return where a list or a mapping is used as a key."""
    root = compose(text)
    return sorted(spot(key.start_mark)
                  for node in (nodes(root) if root is not None else ())
                  if isinstance(node, yaml.MappingNode)
                  for key, _ in node.value if not isinstance(key, yaml.ScalarNode))


def tags(text: str) -> list[tuple[Spot, str]]:
    """Return every tag that is not one of YAML's own core, and where its node stands."""
    root = compose(text)
    return sorted((spot(node.start_mark), node.tag)
                  for node in (nodes(root) if root is not None else ())
                  if not node.tag.startswith(CORE_TAGS) or "/" in node.tag)


def expands_too_far(text: str) -> bool:
    """Return whether following every alias of `text` would make an absurd number of nodes."""
    root = compose(text)
    if root is None:
        return False  # the fast parser refuses it before it follows any alias
    sizes: dict[int, int] = {}
    waiting: list[tuple[yaml.Node, bool]] = [(root, False)]
    open_nodes: set[int] = set()
    while waiting:
        node, done = waiting.pop()
        if done:
            open_nodes.discard(id(node))
            sizes[id(node)] = 1 + sum(sizes[id(item)] for item in children(node))
        elif id(node) in open_nodes:
            return True  # it holds itself
        elif id(node) not in sizes:
            open_nodes.add(id(node))
            waiting.append((node, True))
            waiting += [(item, False) for item in children(node) if id(item) not in sizes]
    return sizes[id(root)] > EXPANDED_NODES
