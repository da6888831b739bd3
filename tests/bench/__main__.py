"""Runs every benchmark, prints one table and writes bench.json: `python -m tests.bench [NAME…]`.

A figure is judged here and nowhere else: no test asserts a time.
"""

import importlib
import json
import platform
import sys
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.bench.figure import Figure

BENCHES = ("help", "load", "plan", "placement", "polling", "heal", "gateway", "lab")
OUT = Path("bench.json")


def main(names: list[str]) -> int:
    """Run the named benchmarks, or all; return 1 when a figure misses its limit."""
    unknown = sorted(set(names) - set(BENCHES))
    if unknown:
        print(f"No such benchmark: {', '.join(unknown)}. There are: {', '.join(BENCHES)}.")
        return 4
    figures: list[Figure] = []
    for name in names or BENCHES:
        began = time.perf_counter()
        print(f"{name} …", flush=True)
        figures += importlib.import_module(f"tests.bench.bench_{name}").figures()
        print(f"{name} took {time.perf_counter() - began:.0f} s", flush=True)
    OUT.write_text(json.dumps({"machine": platform.platform(), "python": platform.python_version(),
                               "figures": [f.as_json() for f in figures]}, indent=2) + "\n")
    Console(width=150).print(table(figures))
    print(f"Written to {OUT}.")
    return 1 if any(figure.met is False for figure in figures) else 0


def table(figures: list[Figure]) -> Table:
    """Return the figures as one table: ours, spread, limit, peer, ratio, verdict."""
    shown = Table("figure", "median", "lowest … highest", "limit", "peer", "ratio", "met",
                  title="hotsite, measured on this machine", title_justify="left")
    words = {True: "[green]yes", False: "[red]no", None: ""}
    for f in figures:
        peer = f"{f.peer}: {statistics_of(f)}" if f.peer_samples else f.note
        ratio = "" if f.ratio is None else f"{f.ratio:.3g} x"
        shown.add_row(f.name, f"{f.median:.4g} {f.unit}",
                      f"{min(f.samples):.4g} … {max(f.samples):.4g}", limit_of(f), peer, ratio,
                      words[f.met])
    return shown


def limit_of(figure: Figure) -> str:
    """Return what was promised of a figure."""
    at = "" if figure.limit_at == 0.5 else f" at {figure.limit_at:.0%}"
    limits = [
        *([f"{figure.limit:g}{at}"] if figure.limit is not None else []),
        *([f"at least {figure.at_least:g}"] if figure.at_least is not None else []),
        *([f"{figure.ratio_at_least:.3g} x"] if figure.ratio_at_least is not None else []),
    ]
    return ", ".join(limits)


def statistics_of(figure: Figure) -> str:
    """Return the peer's median and unit."""
    ordered = sorted(figure.peer_samples)
    return f"{ordered[len(ordered) // 2]:.4g} {figure.unit}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
