"""The pictures for README.md: bars of ours and of what stands beside it, all of one run."""

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


# The agent's rows.
AGENT_ROWS = [
    (
        "What a turn without tools adds to the bare call",
        "agent.turn.overhead",
        "the agent",
        "one commit",
    ),
    ("A tool call to an MCP server (stdio)", "agent.mcp.round.echo.p50", "the agent", "rmcp directly"),
    (
        "Opening a session at its last 100 messages",
        "agent.open.10000_messages",
        "of 10,000",
        "of 100",
    ),
    ("A turn in a long session, beside one in a short one", "agent.growth.turn", "5,000 messages", "10"),
    ("Resident memory", "agent.memory.agents_200.resident", "200 turns at once", "before"),
]


def draw(
    records: Iterable[Record],
    rows: Iterable[tuple[str, str, str, str]] = ROWS,
    heading: str = "omni_bridge beside its baselines, one run, one upstream (make bench)",
) -> str:
    by_name = {record.name: record for record in records}
    measured = [row for row in rows if row[1] in by_name]
    height = TOP + ROW * len(measured) + 16
    parts = opened(height, heading)
    for place, (title, name, ours, theirs) in enumerate(measured):
        parts += pair(TOP + place * ROW, title, by_name[name], ours, theirs)
    return "\n".join([*parts, "</svg>"]) + "\n"


def opened(height: int, title: str) -> list[str]:
    return [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" {FONT}>',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        text(16, 30, title, 16, INK, bold=True),
    ]


# Ours first, then the floor (the baseline of our own record), then the peers.
NATIVE_ROWS = [
    (
        "Calls a second from Rust, 50 at once (more is better)",
        "native.rust.{}.call.50.rate",
        (
            ("omni_bridge", "ours"),
            ("raw reqwest", None),
            ("genai", "genai"),
            ("rig", "rig"),
            ("async-openai", "async_openai"),
        ),
    ),
    (
        "CPU for one more streamed chunk, Rust, OpenAI's wire",
        "native.rust.{}.chunk.openai.framed.cpu",
        (
            ("omni_bridge", "ours"),
            ("raw reqwest", None),
            ("genai", "genai"),
            ("rig", "rig"),
            ("async-openai", "async_openai"),
        ),
    ),
    (
        "CPU for one more streamed chunk, Rust, Anthropic's wire",
        "native.rust.{}.chunk.anthropic.framed.cpu",
        (("omni_bridge", "ours"), ("raw reqwest", None), ("genai", "genai"), ("rig", "rig")),
    ),
    (
        "Calls a second from Python, 50 at once (more is better)",
        "native.python.{}.call.50.rate",
        (
            ("ours, uvloop", "ours_uvloop"),
            ("ours, asyncio", "ours"),
            ("raw aiohttp", None),
            ("openai SDK", "openai_sdk"),
            ("LiteLLM", "litellm"),
        ),
    ),
    (
        "Time for one more streamed chunk, Python",
        "native.python.{}.chunk.openai.wall",
        (
            ("omni_bridge", "ours"),
            ("raw aiohttp", None),
            ("openai SDK", "openai_sdk"),
            ("LiteLLM", "litellm"),
        ),
    ),
]


def draw_groups(
    records: Iterable[Record], rows: Iterable[tuple[str, str, tuple[tuple[str, str | None], ...]]]
) -> str:
    """A group of bars a row; a side that was not measured is left out, and so is a row without ours."""
    by_name = {record.name: record for record in records}
    parts: list[str] = []
    top = TOP
    for title, pattern, sides in rows:
        ours = by_name.get(pattern.format("ours"))
        if ours is None:
            continue
        bars = [
            (label, ours.baseline if side is None else by_name[pattern.format(side)].value)
            for label, side in sides
            if side is None or pattern.format(side) in by_name
        ]
        parts.append(text(16, top + 14, title, 13, INK, bold=True))
        most = max(value or 0 for _, value in bars) or 1.0
        for step, (label, value) in enumerate(bars):
            mine = label.startswith(("omni_bridge", "ours"))
            parts += bar(top + 22 + step * 20, label, value or 0, most, (ours.unit, OURS if mine else THEIRS))
        top += 22 + 20 * len(bars) + 12
    return (
        "\n".join(
            [
                *opened(top + 16, "The native engine beside its floors and its peers, one run (make bench)"),
                *parts,
                "</svg>",
            ]
        )
        + "\n"
    )


def pair(top: int, title: str, record: Record, ours: str, theirs: str) -> list[str]:
    assert record.baseline is not None
    most = max(record.value, record.baseline) or 1.0
    parts = [text(16, top + 14, f"{title}: {record.ratio:.2f} ×", 13, INK, bold=True)]
    parts += bar(top + 22, ours, record.value, most, (record.unit, OURS))
    return parts + bar(top + 42, theirs, record.baseline, most, (record.unit, THEIRS))


def bar(y: int, label: str, value: float, most: float, how: tuple[str, str]) -> list[str]:
    unit, fill = how
    width = max(1.0, (WIDTH - LEFT - 140) * value / most)
    return [
        text(LEFT - 8, y + 12, label, 12, SOFT, end=True),
        f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="16" rx="2" fill="{fill}"/>',
        text(LEFT + width + 8, y + 12, f"{number(value)} {unit}", 12, INK),
    ]


def text(
    x: float, y: float, words: str, size: int, fill: str, *, bold: bool = False, end: bool = False
) -> str:
    more = (' font-weight="bold"' if bold else "") + (' text-anchor="end"' if end else "")
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{fill}"{more}>{escape(words)}</text>'
