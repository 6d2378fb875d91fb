"""`python -m tests.replay`: one table of recorded traffic through both engines, and what its calls cost.

Ends with 1 if an answer is not what was recorded, or if the engines or their costs differ in a way that is
not known, or more often than is known.

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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import agree, costs
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


MEND = "if that is right: .venv/bin/python -m tests.replay --update && make fix"


def kinds_of(report: Report) -> dict[str, int]:
    """In what the engines differed on the same bytes, and how often."""
    return dict(Counter(kind for _, _, kind, _ in report.disagreements).most_common())


def grown(counts: dict[str, int], held: dict[str, int]) -> dict[str, str]:
    """The kinds of difference that came, or come more often than they did when the numbers were committed."""
    return {
        kind: f"{count} times, {held.get(kind, 0)} are known; {MEND}"
        for kind, count in counts.items()
        if count > held.get(kind, 0)
    }


def apart_in_cost(found: costs.Judged) -> dict[str, int]:
    """Why costs are not LiteLLM's, and how often."""
    return {kind: count for kind, count in found.kinds.most_common() if kind != "equal"}


def of_streams(every: list[Case]) -> list[Case]:
    """Those whose answer is read while it comes; LiteLLM joins any other body before it reads it."""
    return [case for case in every if case.interaction.streamed and not case.reason]


async def cut_otherwise(every: list[Case], cut: str, engines: Sequence[str]) -> Report:
    """Everything through the native engine, cut in one more way; through LiteLLM what is a stream."""
    report, streams = Report(), of_streams(every)
    await run(streams, cut, report=report, engines=engines)
    if "native" in engines:
        rest = [case for case in every if not case.interaction.streamed]
        await run(rest, cut, report=report, engines=["native"])
    return report


def document(
    report: Report, cuts: list[str], others: dict[str, Report], priced: costs.Judged
) -> dict[str, object]:
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
    besides = {
        cut: {
            "native": [more.total("native_equal"), more.total("native_sent")],
            "streams_litellm": [more.equal, more.sent],
        }
        for cut, more in others.items()
    }
    return {
        "cuts": cuts,
        **totals,
        "cut_otherwise": besides,
        "apart": kinds_of(report),
        "costs": dict(priced.kinds.most_common()),
        "rows": rows,
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument(
        "--cut",
        action="append",
        help=f"one of {', '.join(CUTS)}, or all; if not given random(7), and then the others",
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

    engines = given.engine or ENGINES
    others: dict[str, Report] = {}

    async def play() -> None:
        for number, cut in enumerate(cuts):
            chosen = every if number == 0 else of_streams(every)
            await run(chosen, cut, report=report, engines=engines)
        for cut in [] if given.cut else [cut for cut in CUTS if cut not in cuts]:
            others[cut] = await cut_otherwise(every, cut, engines)

    asyncio.run(play())
    priced = costs.judged(report.costs)
    print(table(report))
    print(f"cut: {', '.join(cuts)}; with all other ways {time.monotonic() - started:.0f} s")
    for cut, more in others.items():
        native = f"native {more.total('native_equal')} of {more.total('native_sent')} equal"
        print(f"cut {cut}: {native}, litellm's streams {more.equal} of {more.sent}")
    print(priced)
    numbers = document(report, cuts, others, priced)
    if given.json:
        Path(given.json).write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    whole = not (given.only or given.limit or given.cut or given.engine)
    if given.update and not whole:
        parser.error("--update writes the numbers of everything: leave out --cut, --only, --limit, --engine")
    if given.update:
        EXPECTED.write_text(json.dumps(numbers, indent=1) + "\n", encoding="utf-8")
    held = json.loads(EXPECTED.read_text("utf-8")) if whole else None
    played = {"/".join(cuts): report, **others}
    well = [said_well(cut, one, given.show, held) for cut, one in played.items()]
    well.append(costs_are_well(priced, given.show, held))
    return 0 if all(well) else 1


def said_well(cut: str, report: Report, show: int, held: dict[str, Any] | None) -> bool:
    """Says where answers are not what was recorded and where the engines differ; whether that is known."""
    kinds = Counter(name for _, _, name, _ in report.differences)
    if kinds:
        print(
            f"cut {cut}, differences: " + ", ".join(f"{name} {count}" for name, count in kinds.most_common())
        )
    for one in report.differences[:show]:
        print("  " + " | ".join(one))
    if apart := kinds_of(report):
        counts = ", ".join(f"{kind} {count}" for kind, count in apart.items())
        print(f"cut {cut}, native and LiteLLM differ: {counts}")
    known = agree.explained()
    strange = [one for one in report.disagreements if one[2] not in known]
    for one in strange[:show]:
        print("  not explained in docs/differences.md: " + " | ".join(one))
    more_often = grown(apart, held["apart"]) if held else {}
    for kind, how in more_often.items():
        print(f"  the engines differ in {kind} {how}")
    return not (report.differences or strange or more_often)


def costs_are_well(found: costs.Judged, show: int, held: dict[str, Any] | None) -> bool:
    """Says which costs are not LiteLLM's for no known reason; whether there are none."""
    for one in found.unexplained[:show]:
        print(f"  a cost that is not LiteLLM's, not explained in tests/replay/costs.py: {one}")
    more_often = grown(apart_in_cost(found), held["costs"]) if held else {}
    for kind, how in more_often.items():
        print(f"  costs differ by {kind} {how}")
    return not (found.unexplained or more_often)


if __name__ == "__main__":
    sys.exit(main())
