"""Measured records, their bars, and the table made of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Record:
    """One measured value beside the baseline of the same run; `ratio` is value / baseline."""

    name: str
    value: float
    unit: str
    baseline: float | None = None
    ratio: float | None = None


@dataclass(frozen=True)
class Bar:
    """What the issue asks of one record: of its ratio, or of its value where `absolute`."""

    name: str
    at_most: float | None = None
    at_least: float | None = None
    absolute: bool = False

    def met(self, record: Record) -> bool:
        seen = record.value if self.absolute else (record.ratio if record.ratio is not None else math.nan)
        return (self.at_most is None or seen <= self.at_most) and (
            self.at_least is None or seen >= self.at_least
        )

    def text(self, record: Record) -> str:
        limit = self.at_most if self.at_most is not None else self.at_least
        sign = "≤" if self.at_most is not None else "≥"
        return f"{sign} {limit:g} {record.unit}" if self.absolute else f"{sign} {limit:g} ×"


# The rows of design section 6 that concern the bridge, as the issue states them.
BARS = [
    Bar("hop.embedded_vs_http_fastapi.p50", at_most=0.5),
    Bar("hop.embedded_vs_http_fastapi.rate", at_least=3.0),
    Bar("chunk.crossing.wall", at_most=1.0, absolute=True),
    *[Bar(f"call.rust_vs_litellm.{n}.p50", at_most=1.05) for n in (1, 8, 50)],
    *[Bar(f"call.python_vs_litellm.{n}.p50", at_most=1.08) for n in (1, 8, 50)],
    *[Bar(f"start.import_{what}_over_bare", at_most=25.0, absolute=True) for what in ("omni_bridge", "chat")],
    Bar("cancel.rust.socket_closed.p99", at_most=50.0, absolute=True),
    Bar("cancel.python.socket_closed.p99", at_most=50.0, absolute=True),
    # The rows that concern the native engine (native.py).
    Bar("native.rust.ours.call.1.p50", at_most=1.15),
    Bar("native.rust.ours.call.1.cpu", at_most=1.15),
    Bar("native.rust.ours.call.50.rate", at_least=0.9),
    Bar("native.rust.ours.call.50.cpu", at_most=1.15),
    *[
        Bar(f"native.rust.ours.chunk.{shape}.{what}", at_most=1.0, absolute=True)
        for shape in ("openai", "openai.framed", "anthropic", "anthropic.framed")
        for what in ("wall", "cpu")
    ],
    Bar("native.python.ours.call.1.p50", at_most=0.7),
    Bar("native.python.ours.call.50.rate", at_least=1.1),
    Bar("native.python.ours_uvloop.call.50.rate", at_least=2.0),
    *[
        Bar(f"native.python.{side}.chunk.openai.wall", at_most=2.0, absolute=True)
        for side in ("ours", "ours_uvloop")
    ],
    Bar("native.growth.rust.chunk.cpu", at_most=1.2),
    Bar("native.growth.python.chunk.cpu", at_most=1.2),
    Bar("native.growth.instructions.chunk", at_most=1.2),
    Bar("native.memory.streams_100.resident", at_most=20.0, absolute=True),
    Bar("native.start.first_token.rust", at_most=50.0, absolute=True),
    Bar("native.start.first_token.python_over_asyncio", at_most=50.0, absolute=True),
    # The rows that concern the agent (agent.py).
    Bar("agent.turn.overhead", at_most=2.5),
    Bar("agent.turn.commits", at_most=2.0, absolute=True),
    *[Bar(f"agent.mcp.round.{server}.p50", at_most=1.3) for server in ("echo", "python", "time")],
    Bar("agent.events.10_readers.rate", at_least=10_000.0, absolute=True),
    Bar("agent.events.10_readers.one_by_one.rate", at_least=10_000.0, absolute=True),
    Bar("agent.open.10000_messages", at_most=50.0, absolute=True),
    Bar("agent.memory.agents_200.resident", at_most=300.0, absolute=True),
    *[Bar(f"agent.growth.turn{how}", at_most=1.2) for how in ("", ".reopened")],
]
BAR_OF = {bar.name: bar for bar in BARS}


def summary(records: Sequence[Record], of: str, *, whole: bool) -> str:
    """How many bars are met, and which are not; in a whole run a bar without a row is not met.

    `of` is whose bars: "native", "agent" or "doors", which is all others.
    """
    by_name = {record.name: record for record in records}
    mine = [
        bar
        for bar in BARS
        if (bar.name.partition(".")[0] if bar.name.startswith(("native.", "agent.")) else "doors") == of
    ]
    judged = [bar for bar in mine if bar.name in by_name]
    missed = [bar.name for bar in judged if not bar.met(by_name[bar.name])]
    met = len(judged) - len(missed)
    if whole:
        missed += [f"{bar.name} (has no row)" for bar in mine if bar.name not in by_name]
    return "\n  ".join([f"\nbars: {met} met, {len(missed)} missed", *missed])


class Records:
    """Collects records in the order in which they were measured."""

    def __init__(self) -> None:
        self.all: list[Record] = []

    def add(self, name: str, value: float, unit: str, baseline: float | None = None) -> Record:
        ratio = None if not baseline else round(value / baseline, 4)
        record = Record(name, rounded(value), unit, None if baseline is None else rounded(baseline), ratio)
        self.all.append(record)
        return record

    def write(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps([asdict(r) for r in self.all], indent=1, ensure_ascii=False) + "\n")


def read(path: Path) -> list[Record]:
    return [Record(**document) for document in json.loads(path.read_text())]


def rounded(value: float) -> float:
    """Four significant digits: more is noise on a machine of two cores."""
    return float(f"{value:.4g}")


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, math.ceil(share * len(ordered)) - 1)]


def number(value: float | None) -> str:
    if value is None:
        return ""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def verdict(record: Record) -> tuple[str, str]:
    bar = BAR_OF.get(record.name)
    return ("", "") if bar is None else (bar.text(record), "met" if bar.met(record) else "MISSED")


HEAD = ("measured", "value", "baseline", "ratio", "bar", "")


def rows(records: Iterable[Record]) -> list[tuple[str, ...]]:
    return [
        (
            r.name,
            f"{number(r.value)} {r.unit}",
            "" if r.baseline is None else f"{number(r.baseline)} {r.unit}",
            "" if r.ratio is None else f"{r.ratio:.3g} ×",
            *verdict(r),
        )
        for r in records
    ]


def table(records: Iterable[Record]) -> str:
    """For a terminal: columns as wide as they need to be."""
    return aligned([HEAD, *rows(records)])


def aligned(lines: list[tuple[str, ...]]) -> str:
    widths = [max(len(line[i]) for line in lines) for i in range(len(HEAD))]
    align: list[Callable[[str, int], str]] = [str.ljust, *[str.rjust] * 4, str.ljust]
    return "\n".join(
        "  ".join(put(cell, width) for put, cell, width in zip(align, line, widths, strict=True)).rstrip()
        for line in lines
    )


def markdown(records: Iterable[Record]) -> str:
    """For README.md: the same rows."""
    lines = ["| " + " | ".join(HEAD) + " |", "|---|--:|--:|--:|--:|---|"]
    lines += ["| `" + row[0] + "` | " + " | ".join(row[1:]) + " |" for row in rows(records)]
    return "\n".join(lines)
