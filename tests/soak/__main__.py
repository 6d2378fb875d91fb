"""`make soak`: the full forms of what `make test` checks with bounds.

python -m tests.soak --streams 2000 --exits 40 --kills 40
python -m tests.soak --only exits --engine native
python -m tests.soak --full --out benches/results/soak.json

`--full` is 100,000 streams and 1,000 exits, through each engine, and 1,000 kills of an agent.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.soak import exits, kills, streams


def record(name: str, value: float, unit: str, baseline: float | None = None) -> dict[str, Any]:
    ratio = round(value / baseline, 4) if baseline else None
    return {"name": name, "value": round(value, 3), "unit": unit, "baseline": baseline, "ratio": ratio}


ENGINES = ["litellm", "native"]
PARTS = [*ENGINES, "agent"]


def place(entry: dict[str, Any]) -> tuple[int, bool]:
    """LiteLLM's records stand first, the agent's last, streams before exits; within these the order stays."""
    _, part, what, *_ = entry["name"].split(".")
    return PARTS.index(part), what == "exits"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--exits", type=int, default=40)
    parser.add_argument("--kills", type=int, default=40)
    parser.add_argument("--full", action="store_true", help="100,000 streams, 1,000 exits and 1,000 kills")
    parser.add_argument(
        "--only", choices=["streams", "exits", "kills"], help="one part; what is not run stays in FILE"
    )
    parser.add_argument("--engine", choices=[*ENGINES, "both"], default="both")
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    many, leave = (100_000, 1_000) if options.full else (options.streams, options.exits)
    killed = 1_000 if options.full else options.kills

    def tell(line: str) -> None:
        print(f"soak: {line}", file=sys.stderr, flush=True)

    records: list[dict[str, Any]] = []
    results: list[streams.Streams | exits.Exits | kills.Kills] = []
    for engine in ENGINES if options.engine == "both" else [options.engine]:
        name = f"soak.{engine}"
        if options.only in (None, "streams"):
            ran = streams.measure(many, engine=engine, tell=tell)
            results.append(ran)
            last, first = ran.last, ran.first
            records += [
                record(f"{name}.streams", ran.streams, "streams"),
                record(f"{name}.streams.cancelled", ran.cancelled, "streams"),
                record(f"{name}.streams.seconds", ran.seconds, "s"),
                record(f"{name}.streams.resident", last.resident_mb, "MB", first.resident_mb),
                record(f"{name}.streams.threads", last.threads, "threads", first.threads),
                record(f"{name}.streams.descriptors", last.descriptors, "descriptors", first.descriptors),
                record(f"{name}.streams.open_calls", ran.open_calls, "calls"),
            ]
        if options.only in (None, "exits"):
            left = exits.measure(leave, engine=engine, tell=tell)
            results.append(left)
            records += [
                record(f"{name}.exits", left.exits, "exits"),
                record(f"{name}.exits.wrong", len(left.wrong_codes), "exits"),
                record(f"{name}.exits.slowest", max(left.seconds), "s"),
                record(f"{name}.exits.median", sorted(left.seconds)[len(left.seconds) // 2], "s"),
            ]
    if options.only in (None, "kills"):
        found = kills.measure(killed, tell=tell)
        results.append(found)
        records += [
            record("soak.agent.kills", found.kills, "kills"),
            record("soak.agent.kills.in_a_turn", found.in_a_turn, "kills"),
            record("soak.agent.kills.acknowledged", found.acknowledged, "events"),
            record("soak.agent.kills.wrong", len(found.wrong), "findings"),
        ]
    for entry in records:
        print(f"{entry['name']:34} {entry['value']:>12,} {entry['unit']}")
    for result in results:
        result.check()
    if options.out:
        some = options.only or options.engine != "both"
        known = json.loads(options.out.read_text()) if some and options.out.exists() else []
        new = {entry["name"] for entry in records}
        records = sorted([e for e in known if e["name"] not in new] + records, key=place)
        options.out.write_text(json.dumps(records, indent=1) + "\n")
        print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
