"""The diagram of one cycle: every span as a bar, the controller above, then the two hosts."""

from collections.abc import Sequence
from html import escape

from tests.bench.replication.profile.spans import CONTROLLER, Span

WIDTH, LEFT, ROW, BAR = 1100, 20, 17, 13
COLOURS = {CONTROLLER: "#3b6ea8"}
OTHERS = ("#7a9a3c", "#b0703a")
STEPS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0)
LEAST_S = 0.002
"""Shorter spans are left out of the diagram, not out of the table."""


def draw(title: str, spans: Sequence[Span]) -> str:
    """Return an SVG document."""
    began, ended = min(s.from_s for s in spans), max(s.to_s for s in spans)
    lasted = ended - began or 1.0
    lanes = sorted({s.lane for s in spans}, key=lambda lane: (lane != CONTROLLER, lane))
    lines, y = [], 58
    for number, lane in enumerate(lanes):
        colour = COLOURS.get(lane, OTHERS[number % len(OTHERS)])
        lines.append(f'<text x="{LEFT}" y="{y}" class="lane">{escape(lane)}</text>')
        y += 6
        for span in sorted((s for s in spans if s.lane == lane and s.lasted_s >= LEAST_S),
                           key=lambda s: (s.from_s, -s.to_s)):
            x = LEFT + (span.from_s - began) / lasted * WIDTH
            width = max(1.0, span.lasted_s / lasted * WIDTH)
            said = f"{span.name}  {span.lasted_s * 1000:.0f} ms"
            at, anchor = (x + width + 4, "start") if x < LEFT + WIDTH * 0.6 else (x - 4, "end")
            lines.append(
                f'<rect x="{x:.1f}" y="{y}" width="{width:.1f}" height="{BAR}" fill="{colour}"/>'
                f'<text x="{at:.1f}" y="{y + 10}" text-anchor="{anchor}">{escape(said)}</text>')
            y += ROW
        y += 22
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH + 340}" height="{y + 10}">'
            "<style>text{font:11px sans-serif}.lane{font-weight:bold}.axis{fill:#777}"
            "line{stroke:#ddd}</style>"
            f'<rect width="100%" height="100%" fill="white"/><text x="{LEFT}" y="18" class="lane">'
            f"{escape(title)}</text>{axis(lasted, y)}{''.join(lines)}</svg>\n")


def axis(lasted_s: float, height: int) -> str:
    """Return lines of time, some ten of them."""
    step = next((s for s in STEPS if lasted_s / s <= 12), STEPS[-1])
    found = []
    for number in range(int(lasted_s / step) + 1):
        x = LEFT + number * step / lasted_s * WIDTH
        found.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="40" y2="{height}"/>'
                     f'<text x="{x:.1f}" y="36" class="axis">{number * step:g} s</text>')
    return "".join(found)
