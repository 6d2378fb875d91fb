"""`python -m tests.replay`: one table of recorded traffic through both engines.

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

from . import agree
from .cases import CUTS, cases, wire_folder
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


def document(report: Report, cuts: list[str]) -> dict[str, object]:
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
    return {"cuts": cuts, **{name: report.total(name) for name in names}, "rows": rows}


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.replay", description=__doc__)
    parser.add_argument(
        "--cut", action="append", help=f"one of {', '.join(CUTS)}, or all; random(7) if not given"
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
            # How an unstreamed body is cut matters little: it is joined before anybody reads it.
            chosen = (
                every
                if number == 0
                else [case for case in every if case.interaction.streamed and not case.reason]
            )
            await run(chosen, cut, report=report, engines=given.engine or ENGINES)

    asyncio.run(play())
    print(table(report))
    print(f"cut: {', '.join(cuts)}; {time.monotonic() - started:.0f} s")
    kinds = Counter(name for _, _, name, _ in report.differences)
    if kinds:
        print("differences: " + ", ".join(f"{name} {count}" for name, count in kinds.most_common()))
    for one in report.differences[: given.show]:
        print("  " + " | ".join(one))
    apart = Counter(kind for _, _, kind, _ in report.disagreements)
    known = agree.explained()
    if apart:
        print(
            "native and LiteLLM differ: "
            + ", ".join(f"{kind} {count}" for kind, count in apart.most_common())
        )
    for one in [one for one in report.disagreements if one[2] not in known][: given.show]:
        print("  not explained in docs/differences.md: " + " | ".join(one))
    if given.json:
        Path(given.json).write_text(json.dumps(document(report, cuts), indent=1) + "\n", encoding="utf-8")
    if given.update:
        EXPECTED.write_text(json.dumps(document(report, cuts), indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
