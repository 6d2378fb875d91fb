"""`make soak`: the full forms of what `make test` checks with bounds.

python -m tests.soak --streams 2000 --exits 40
python -m tests.soak --full --out benches/results/soak.json     100,000 streams and 1,000 exits
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from tests.soak import exits, streams


def record(name: str, value: float, unit: str, baseline: float | None = None) -> dict[str, Any]:
    ratio = round(value / baseline, 4) if baseline else None
    return {"name": name, "value": round(value, 3), "unit": unit, "baseline": baseline, "ratio": ratio}


def half(entry: dict[str, Any]) -> bool:
    """Streams stand before exits; within a half the order stays."""
    return entry["name"].startswith("soak.exits")


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--streams", type=int, default=2000)
    parser.add_argument("--exits", type=int, default=40)
    parser.add_argument("--full", action="store_true", help="100,000 streams and 1,000 exits")
    parser.add_argument(
        "--only", choices=["streams", "exits"], help="one half; the other's records stay in FILE"
    )
    parser.add_argument("--out", type=Path, metavar="FILE")
    options = parser.parse_args()
    many, leave = (100_000, 1_000) if options.full else (options.streams, options.exits)

    def tell(line: str) -> None:
        print(f"soak: {line}", file=sys.stderr, flush=True)

    records: list[dict[str, Any]] = []
    results: list[streams.Streams | exits.Exits] = []
    if options.only != "exits":
        ran = streams.measure(many, tell=tell)
        results.append(ran)
        records += [
            record("soak.streams", ran.streams, "streams"),
            record("soak.streams.cancelled", ran.cancelled, "streams"),
            record("soak.streams.seconds", ran.seconds, "s"),
            record("soak.streams.resident", ran.last.resident_mb, "MB", ran.first.resident_mb),
            record("soak.streams.threads", ran.last.threads, "threads", ran.first.threads),
            record("soak.streams.descriptors", ran.last.descriptors, "descriptors", ran.first.descriptors),
            record("soak.streams.open_calls", ran.open_calls, "calls"),
        ]
    if options.only != "streams":
        left = exits.measure(leave, tell=tell)
        results.append(left)
        records += [
            record("soak.exits", left.exits, "exits"),
            record("soak.exits.wrong", len(left.wrong_codes), "exits"),
            record("soak.exits.slowest", max(left.seconds), "s"),
            record("soak.exits.median", sorted(left.seconds)[len(left.seconds) // 2], "s"),
        ]
    for entry in records:
        print(f"{entry['name']:28} {entry['value']:>12,} {entry['unit']}")
    for result in results:
        result.check()
    if options.out:
        known = json.loads(options.out.read_text()) if options.only and options.out.exists() else []
        new = {entry["name"] for entry in records}
        records = sorted([e for e in known if e["name"] not in new] + records, key=half)
        options.out.write_text(json.dumps(records, indent=1) + "\n")
        print(f"written: {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
