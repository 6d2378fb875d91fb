"""Puts what stands elsewhere into the pages, between `<!-- NAME:begin -->` and `<!-- NAME:end -->`.

Measured numbers come from benches/results, the example programs from examples/.

    python tools/tables.py --check    the pages say what their sources say
    python tools/tables.py --write    writes them anew
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from typing import Any

from _written import ROOT, settled, writes

sys.path.insert(0, str(ROOT / "benches/doors"))

from _records import BARS, Record, markdown, read  # the path above comes first

RESULTS = ROOT / "benches/results"
PAGES = ["README.md", "docs/reference/benchmarks.md", "docs/reference/replay.md"]
MEND = "python tools/tables.py --write"
FEW = 50  # a provider with fewer recordings gets no row of its own in README.md


def doors() -> list[Record]:
    return read(RESULTS / "doors.json")


def native() -> list[Record]:
    return read(RESULTS / "native.json")


def agent() -> list[Record]:
    return read(RESULTS / "agent.json")


def with_bars(records: list[Record]) -> str:
    """The rows that have a bar, in the bars' order."""
    by_name = {record.name: record for record in records}
    return markdown(by_name[bar.name] for bar in BARS if bar.name in by_name)


def soak() -> str:
    return markdown(read(RESULTS / "soak.json"))


def replayed() -> Any:
    """What the last `make replay --update` counted; tests hold it from falling."""
    return json.loads((ROOT / "tests/replay/expected.json").read_text())


def replay() -> str:
    """A row a provider; those with few recordings together."""
    names = ("sent", "equal", "native_sent", "native_equal", "same")
    sums: dict[str, list[int]] = {}
    for row in replayed()["rows"]:
        have = sums.setdefault(row["provider"], [0] * len(names))
        sums[row["provider"]] = [one + row[name] for one, name in zip(have, names, strict=True)]
    few = [name for name, (sent, *_) in sums.items() if sent < FEW]
    many = sorted((name for name in sums if name not in few), key=lambda name: -sums[name][0])
    lines = ["| provider | sent | LiteLLM equal | sent natively | equal | native = LiteLLM |"]
    lines += ["|---|--:|--:|--:|--:|--:|"]
    lines += [counted(name, sums[name]) for name in many]
    lines.append(counted(f"{len(few)} others", added(sums[name] for name in few)))
    lines.append(counted("**all**", added(sums.values())))
    numbers = replayed()
    others = numbers["cut_otherwise"].items()
    native = ", ".join("{} {:,} of {:,}".format(cut, *more["native"]) for cut, more in others)
    streams = ", ".join("{} {:,} of {:,}".format(cut, *more["streams_litellm"]) for cut, more in others)
    priced = numbers["costs"]
    alike = f"{priced['equal'] + priced.get('unknown to both', 0):,} of {sum(priced.values()):,}"
    cut = f"The answers came cut {', '.join(numbers['cuts'])}. Cut in every other way they are equal too:"
    return "\n".join(
        [
            *lines,
            "",
            f"{cut} natively {native}; the streams through LiteLLM {streams}.",
            "",
            f"What the native engine says that a call cost is LiteLLM's own price in {alike};",
            "each other has its reason.",
        ]
    )


def added(rows: Iterable[list[int]]) -> list[int]:
    return [sum(column) for column in zip(*rows, strict=True)]


def counted(name: str, counts: list[int]) -> str:
    return f"| {name} | " + " | ".join(f"{count:,}" for count in counts) + " |"


def replay_all() -> str:
    """A row an endpoint, with what was not sent and why."""
    lines = ["| provider | endpoint | sent | equal | natively | equal | not applicable |"]
    lines += ["|---|---|--:|--:|--:|--:|---|"]
    for row in replayed()["rows"]:
        why = "; ".join(f"{reason}: {count}" for reason, count in row["not_applicable"].items())
        counts = f"{row['sent']} | {row['equal']} | {row['native_sent']} | {row['native_equal']}"
        lines.append(f"| {row['provider']} | {row['endpoint']} | {counts} | {why} |")
    return "\n".join(lines)


def program(language: str, path: str) -> str:
    return f"```{language}\n{(ROOT / path).read_text()}```"


TABLES: dict[str, Callable[[], str]] = {
    "bars": lambda: with_bars(doors()),
    "bench": lambda: markdown(doors()),
    "native-bars": lambda: with_bars(native()),
    "native": lambda: markdown(native()),
    "agent-bars": lambda: with_bars(agent()),
    "agent": lambda: markdown(agent()),
    "soak": soak,
    "replay": replay,
    "replay-all": replay_all,
    "rust": lambda: program("rust", "examples/rust_host/src/main.rs"),
    "c": lambda: program("c", "examples/c/chat.c"),
}


def filled(text: str) -> str:
    for name, make in TABLES.items():
        begin, end = f"<!-- {name}:begin -->\n", f"<!-- {name}:end -->"
        if begin in text:
            try:
                made = make()
            except FileNotFoundError as missing:
                print(f"not measured yet: {missing.filename}")
                continue
            head, rest = text.split(begin, 1)
            tail = rest.split(end, 1)[1]
            text = f"{head}{begin}{made}\n{end}{tail}"
    return text


def main() -> int:
    pages = {ROOT / name: filled((ROOT / name).read_text(encoding="utf-8")) for name in PAGES}
    return settled(pages, write=writes(__doc__), source="their sources", mend=MEND)


if __name__ == "__main__":
    sys.exit(main())
