"""`python -m tests.replay`: one table of recorded traffic through both engines.

Ends with 1 if an answer is not what was recorded, or if the engines differ in a way that is not known, or
more often than is known.

--cut NAME (may be repeated; "all" for every one)  --only TEXT  --limit N  --json FILE  --show N  --update
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from . import agree
from .cases import CUTS, Case, cases, wire_folder
from .run import ENGINES, Report, run

EXPECTED = Path(__file__).with_name("expected.json")


def table(report: Report) -> str:
    counts = f"{'sent':>6} {'equal':>6} {'diff':>5} {'native':>7} {'equal':>6} {'= LiteLLM':>9} {'n/a':>5}"
    lines = [f"{'provider':40} {'endpoint':32} {counts}  why not applicable"]
    for (file, endpoint), row in sorted(report.rows.items()):
        why = "; ".join(f"{reason}: {count}" for reason, count in row.reasons.most_common())
        lines.append(
            f"{file:40} {endpoint:32} {row.sent:6} {row.equal:6} {row.different:5}"
            f" {row.native_sent:7} {row.native_equal:6} {row.same:9} {sum(row.reasons.values()):5}  {why}"
        )
    skipped = sum(sum(row.reasons.values()) for row in report.rows.values())
    native, equal, same = (report.total(name) for name in ("native_sent", "native_equal", "same"))
    lines.append(
        f"{'TOTAL':40} {'':32} {report.sent:6} {report.equal:6} {report.sent - report.equal:5}"
        f" {native:7} {equal:6} {same:9} {skipped:5}  litellm {share(report.equal, report.sent)} equal,"
        f" native {share(equal, native)} equal, native = LiteLLM {share(same, native)}"
    )
    return "\n".join(lines)


def share(part: int, whole: int) -> str:
    return f"{100 * part / max(1, whole):.2f}%"


def kinds_of(report: Report) -> dict[str, int]:
    """In what the engines differed on the same bytes, and how often."""
    return dict(Counter(kind for _, _, kind, _ in report.disagreements).most_common())


def grown(report: Report, expected: dict[str, Any]) -> dict[str, str]:
    """The kinds of difference that came, or come more often than they did when the numbers were committed."""
    held = expected["apart"]
    return {
        kind: f"{count} times, {held.get(kind, 0)} are known"
        for kind, count in kinds_of(report).items()
        if count > held.get(kind, 0)
    }


def of_streams(every: list[Case]) -> list[Case]:
    """Those whose answer is read while it comes: how an unstreamed body is cut matters little."""
    return [case for case in every if case.interaction.streamed and not case.reason]


def document(report: Report, cuts: list[str], others: list[tuple[str, Report]]) -> dict[str, object]:
    rows = [
        {
            "provider": file,
            "endpoint": endpoint,
            "sent": row.sent,
            "equal": row.equal,
            "native_sent": row.native_sent,
            "native_equal": row.native_equal,
            "same": row.same,
            "not_applicable": dict(row.reasons),
        }
        for (file, endpoint), row in sorted(report.rows.items())
    ]
    names = ("sent", "equal", "native_sent", "native_equal", "same")
    totals = {name: report.total(name) for name in names}
    streams = {cut: [more.total("native_equal"), more.total("native_sent")] for cut, more in others}
    return {"cuts": cuts, **totals, "native_streams": streams, "apart": kinds_of(report), "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument(
        "--cut",
        action="append",
        help=f"one of {', '.join(CUTS)}, or all; random(7) if not given, and streams natively in every way",
    )
    parser.add_argument("--only", default="", help="files of the corpus whose path holds this text")
    parser.add_argument("--limit", type=int, default=0, help="only so many, chosen at random")
    parser.add_argument("--json", help="write the table as JSON to this file")
    parser.add_argument("--show", type=int, default=20, help="how many differences to print")
    parser.add_argument(
        "--update", action="store_true", help="write the numbers that the tests hold from falling"
    )
    parser.add_argument(
        "--engine", choices=ENGINES, action="append", help="one engine alone; both if not given"
    )
    given = parser.parse_args()
    if not wire_folder().is_dir():
        print(
            f"replay: there is no corpus at {wire_folder()}; set OMNI_WIRE to the folder with the recordings",
            file=sys.stderr,
        )
        return 2
    cuts = list(CUTS) if given.cut and "all" in given.cut else given.cut or ["random(7)"]
    every = list(cases(only=given.only))
    if given.limit:
        every = random.Random(1).sample(every, min(given.limit, len(every)))
    started = time.monotonic()
    report = Report()

    async def play() -> None:
        for number, cut in enumerate(cuts):
            chosen = every if number == 0 else of_streams(every)
            await run(chosen, cut, report=report, engines=given.engine or ENGINES)
        if not given.cut and "native" in (given.engine or ENGINES):
            for cut in [cut for cut in CUTS if cut not in cuts]:
                more = await run(of_streams(every), cut, engines=["native"])
                others.append((cut, more))

    others: list[tuple[str, Report]] = []
    asyncio.run(play())
    print(table(report))
    print(f"cut: {', '.join(cuts)}; {time.monotonic() - started:.0f} s")
    for cut, more in others:
        print(f"native, streams cut {cut}: {more.total('native_equal')} of {more.total('native_sent')} equal")
        report.differences.extend(more.differences)
    numbers = document(report, cuts, others)
    for path in [Path(given.json)] if given.json else []:
        path.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    if given.update:
        EXPECTED.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    whole = not (given.only or given.limit or given.cut)
    return 0 if well(report, given.show, whole=whole) else 1


def well(report: Report, show: int, *, whole: bool) -> bool:
    """Says where answers are not what was recorded and where the engines differ; whether that is known."""
    kinds = Counter(name for _, _, name, _ in report.differences)
    if kinds:
        print("differences: " + ", ".join(f"{name} {count}" for name, count in kinds.most_common()))
    for one in report.differences[:show]:
        print("  " + " | ".join(one))
    if apart := kinds_of(report):
        print("native and LiteLLM differ: " + ", ".join(f"{kind} {count}" for kind, count in apart.items()))
    known = agree.explained()
    strange = [one for one in report.disagreements if one[2] not in known]
    for one in strange[:show]:
        print("  not explained in docs/differences.md: " + " | ".join(one))
    more_often = grown(report, json.loads(EXPECTED.read_text("utf-8"))) if whole else {}
    for kind, how in more_often.items():
        print(f"  the engines differ in {kind} {how}; if that is right: python -m tests.replay --update")
    return not (report.differences or strange or more_often)


if __name__ == "__main__":
    sys.exit(main())
