"""The agent beside what it stands on: a turn, a tool round, events, a long session, many agents at once.

    python benches/doors/agent.py              prints the table, writes benches/results/agent.*
    python benches/doors/agent.py --quick      a quarter of the rounds; writes nothing
    python benches/doors/agent.py --only turn,open            these alone; writes nothing
    python benches/doors/agent.py --only turn --record        these alone, into agent.json

Each phase is a Rust program without Python (rust/agent/examples/bench_*): it compares its sides in
turns, checks their answers, and prints its records. No provider is asked: the model answers in the process.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

from _picture import AGENT_ROWS, draw
from _process import clean_environment
from _records import Records, read, summary, table
from run import RESULTS, ROOT, TARGET

PROGRAMS = TARGET / "examples"
WRITTEN = RESULTS / "agent.json"
# The program, its arguments, and how many rounds it makes; None where it has its own count.
PHASES: dict[str, tuple[str, list[str], int | None]] = {
    "turn": ("bench_agent", ["turn"], 40),
    "mcp": ("bench_mcp", [], 2_000),
    "events": ("bench_events", [], None),
    "open": ("bench_agent", ["open"], 40),
    "agents": ("bench_agent", ["agents"], None),
    "growth": ("bench_agent", ["growth"], 8),
}


def measured(name: str, scale: float, out: Records) -> None:
    """Runs a phase, and takes the records that it prints."""
    program, words, rounds = PHASES[name]
    argv: list[str | Path] = [PROGRAMS / program, *words]
    if rounds is not None:
        # The first round of a turn warms up, so two at least.
        argv.append(str(max(2, round(rounds * scale))))
    env = clean_environment(OMNI_BRIDGE_PYTHON=sys.executable)
    try:
        done = subprocess.run(argv, env=env, stdout=subprocess.PIPE, text=True, check=False)
    except FileNotFoundError:
        raise SystemExit(
            f"bench: {program} is not built: cargo build --release -p omni-agent --examples"
        ) from None
    if done.returncode != 0:
        raise SystemExit(
            f"bench: {name} ended with exit code {done.returncode}: its own message stands above"
        )
    for line in done.stdout.splitlines():
        record = json.loads(line)
        out.add(record["name"], record["value"], record["unit"], record["baseline"])


def merged(out: Records) -> Records:
    """The committed records with those that were measured now in their place."""
    now = {record.name: record for record in out.all}
    whole = Records()
    whole.all = [now.pop(record.name, record) for record in read(WRITTEN)] if WRITTEN.exists() else []
    whole.all += now.values()
    return whole


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds; writes nothing")
    parser.add_argument("--only", help="some of: " + ", ".join(PHASES) + "; writes nothing")
    parser.add_argument("--record", action="store_true", help="with --only: writes these rows all the same")
    options = parser.parse_args()
    wanted = set(options.only.split(",") if options.only else PHASES) & set(PHASES)
    if not wanted:
        return 0  # --only named phases of run.py or native.py
    begin = time.monotonic()
    out = Records()
    for name in PHASES:
        if name in wanted:
            print(f"bench: {name} ({time.monotonic() - begin:.0f} s so far)", file=sys.stderr, flush=True)
            measured(name, 0.25 if options.quick else 1.0, out)
    print(table(out.all))
    print(summary(out.all, "agent", whole=wanted == set(PHASES)))
    if options.record or not (options.quick or options.only):
        whole = merged(out) if options.only else out
        whole.write(WRITTEN)
        (RESULTS / "agent.svg").write_text(
            draw(whole.all, AGENT_ROWS, "The agent beside what it stands on, one run (make bench)")
        )
        print(
            f"written: {RESULTS.relative_to(ROOT)}/agent.json, agent.svg ({time.monotonic() - begin:.0f} s)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
