"""Draws the ratios as an SVG: one bar for each subject and load, the peer at 1, on a log scale."""

from __future__ import annotations

import math
from xml.sax.saxutils import escape

from .answers import KINDS, Samples, median

WIDTH, ROW, LEFT, RIGHT = 860, 22, 250, 90
#: From a tenth of the peer to a thousand times as much.
LEAST, MOST = 0.1, 1000.0


def draw(samples: Samples) -> str:
    """Return an SVG of CPU time for a message, as the peer's over the subject's."""
    rows: list[str] = []
    y = 40
    for key, subjects in samples.items():
        kind, params = key.split()
        title, _, peer = KINDS[kind]
        if peer not in subjects:
            continue
        rows.append(_text(10, y + 14, f"{title}, {params} parameters", "bold"))
        y += ROW
        for name, taken in subjects.items():
            ratio = median(subjects[peer], "cpu") / median(taken, "cpu")
            colour = "#2a7" if name.startswith("yateway") else "#999"
            end = _x(ratio)
            rows.append(_text(LEFT - 8, y + 14, name, anchor="end"))
            rows.append(
                f'<rect x="{LEFT}" y="{y + 3}" width="{max(end - LEFT, 1):.0f}" height="{ROW - 7}"'
                f' fill="{colour}"/>'
            )
            rows.append(_text(end + 6, y + 14, f"{ratio:.1f} x"))
            y += ROW
        y += ROW // 2
    one = _x(1.0)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 10}"'
        ' font-family="sans-serif" font-size="12">'
        f'<rect width="{WIDTH}" height="{y + 10}" fill="white"/>'
    )
    line = f'<line x1="{one:.0f}" y1="34" x2="{one:.0f}" y2="{y}" stroke="#c33"/>'
    caption = _text(10, 20, "Messages for a second of CPU, as multiples of python-yate (log scale)")
    return "\n".join([head, caption, line, *rows, "</svg>"]) + "\n"


def _x(ratio: float) -> float:
    share = math.log(max(ratio, LEAST) / LEAST) / math.log(MOST / LEAST)
    return LEFT + share * (WIDTH - LEFT - RIGHT)


def _text(x: float, y: float, text: str, weight: str = "normal", anchor: str = "start") -> str:
    return (
        f'<text x="{x:.0f}" y="{y}" font-weight="{weight}" text-anchor="{anchor}" fill="#222">'
        f"{escape(text)}</text>"
    )
