"""The picture for README.md: each row a pair of bars, ours and the baseline of the same run."""

from __future__ import annotations

from collections.abc import Iterable
from xml.sax.saxutils import escape

from _records import Record, number

ROWS = [
    (
        "One hop Rust → Python → Rust, beside HTTP (FastAPI)",
        "hop.embedded_vs_http_fastapi.p50",
        "embedded",
        "HTTP",
    ),
    ("Hops a second, 50 at once (more is better)", "hop.embedded_vs_http_fastapi.rate", "embedded", "HTTP"),
    (
        "A LiteLLM call from Rust, 8 at once, p50",
        "call.rust_vs_litellm.8.p50",
        "omni_bridge",
        "LiteLLM directly",
    ),
    ("The same from Python", "call.python_vs_litellm.8.p50", "omni_bridge", "LiteLLM directly"),
    ("The same over our HTTP bridge", "call.http_vs_litellm.8.p50", "omni serve", "LiteLLM directly"),
    (
        "CPU for one more streamed chunk, from Rust",
        "chunk.rust_vs_litellm.cpu",
        "omni_bridge",
        "LiteLLM directly",
    ),
]
WIDTH, LEFT, ROW, TOP = 860, 150, 74, 54
FONT = 'font-family="Helvetica, Arial, sans-serif"'
OURS, THEIRS, INK, SOFT = "#2f6f4f", "#b9c2bd", "#1d2421", "#5c6763"


def draw(records: Iterable[Record]) -> str:
    by_name = {record.name: record for record in records}
    rows = [row for row in ROWS if row[1] in by_name]
    height = TOP + ROW * len(rows) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(
            16, 30, "omni_bridge beside its baselines, one run, one upstream (make bench)", 16, INK, bold=True
        ),
    ]
    for place, (title, name, ours, theirs) in enumerate(rows):
        parts += pair(TOP + place * ROW, title, by_name[name], ours, theirs)
    return "\n".join([*parts, "</svg>"]) + "\n"


def pair(top: int, title: str, record: Record, ours: str, theirs: str) -> list[str]:
    assert record.baseline is not None
    room = WIDTH - LEFT - 140
    most = max(record.value, record.baseline) or 1.0
    parts = [text(16, top + 14, f"{title}: {record.ratio:.2f} ×", 13, INK, bold=True)]
    for step, (label, value, fill) in enumerate(
        ((ours, record.value, OURS), (theirs, record.baseline, THEIRS))
    ):
        y = top + 22 + step * 20
        width = max(1.0, room * value / most)
        parts += [
            text(LEFT - 8, y + 12, label, 12, SOFT, end=True),
            f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="16" rx="2" fill="{fill}"/>',
            text(LEFT + width + 8, y + 12, f"{number(value)} {record.unit}", 12, INK),
        ]
    return parts


def text(
    x: float, y: float, words: str, size: int, fill: str, *, bold: bool = False, end: bool = False
) -> str:
    more = (' font-weight="bold"' if bold else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{fill}"{more}>{escape(words)}</text>'
