"""The table of states as a diagram in Mermaid's words: `python -m tests.failover.diagram`."""

import sys

from controller.failover.states import TABLE, Phase


def diagram() -> str:
    """Every way from one phase to another; several signals of one way stand on one line."""
    ways: dict[tuple[Phase, Phase], list[str]] = {}
    for row in TABLE:
        if row.start is not row.end:
            ways.setdefault((row.start, row.end), []).append(row.signal)
    lines = ["stateDiagram-v2", f"    [*] --> {_word(Phase.CALM)}"]
    lines += [f"    {_word(start)} --> {_word(end)}: {' / '.join(signals)}"
              for (start, end), signals in ways.items()]
    return "\n".join(lines)


def _word(phase: Phase) -> str:
    return phase.replace("-", "_")


if __name__ == "__main__":
    sys.stdout.write(f"{diagram()}\n")
