"""The native engine beside its floors and its peers, in one run, on one fixed upstream that is not Python.

    python benches/doors/native.py              prints the table, writes benches/results/native.*
    python benches/doors/native.py --quick      a quarter of the rounds; writes nothing
    python benches/doors/native.py --only busy,chunks            these alone; writes nothing
    python benches/doors/native.py --only instructions --record  these alone, into native.json

Sides from Rust, each a process of its own: ours (crate omni-bridge), raw reqwest, and rust-genai, rig-core
and async-openai (benches/peers) as far as this toolchain builds them. From Python: ours and raw aiohttp, each
on asyncio and on uvloop, the openai SDK, LiteLLM. CPU is the process's own. Two are measured otherwise:
the p50 of a lonely call, ours and the floor in one process, call by call in turns (design section 6 says
why), and the instructions of the decoders, counted by callgrind, the same whatever the machine does.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _picture import NATIVE_ROWS, draw_groups
from _process import Process, clean_environment, cpu_seconds, memory_mb, started
from _records import Records, percentile, read, summary, table
from run import HERE, RESULTS, ROOT, TARGET, Contender, Sum, Upstream, once

NATIVE = TARGET / "bench-native"
DECODE = TARGET / "bench-decode"
WRITTEN = RESULTS / "native.json"
# The peers' programs are built by benches/peers/build.sh; one that could not be built is not there.
PEERS = {
    name: ROOT / "benches/peers/target/release" / f"bench-{name.replace('_', '-')}"
    for name in ("genai", "rig", "async_openai")
}
SHORT, LONG = 20, 2_020
WIRES = ("openai", "responses", "anthropic", "gemini")
WORDS = 20


@dataclass
class Pair:
    """What one side's round trips took beside the floor's."""

    ours: list[float]
    floor: list[float]


class Native:
    """One run: the processes, and what was measured of them."""

    def __init__(self, up: Upstream, upstream: Process, start: Callable[..., Process], scale: float) -> None:
        self.up = up
        self.upstream = upstream
        self.start = start
        self.scale = scale
        self.out = Records()
        self.expected: dict[int, str] = {}
        self.running: dict[str, dict[str, Contender]] = {}

    # ---------------------------------------------------------------------------------------- the sides

    def rust(self) -> dict[str, Contender]:
        """The floor first; a peer that was not built is left out."""
        if "rust" not in self.running:
            argv: dict[str, list[str | Path]] = {
                "reqwest": [NATIVE, "raw"],
                "ours": [NATIVE, "native"],
                "ours_own_host": [NATIVE, "own-host"],
            }
            for name, path in PEERS.items():
                if path.exists():
                    argv[name] = [path]
            self.running["rust"] = self.contenders(argv)
        return self.running["rust"]

    def python(self) -> dict[str, Contender]:
        if "python" not in self.running:
            side: list[str | Path] = [sys.executable, HERE / "native_python.py"]
            self.running["python"] = self.contenders(
                {
                    "aiohttp": [*side, "aiohttp"],
                    "ours": [*side, "ours"],
                    "ours_uvloop": [*side, "ours", "--uvloop"],
                    "aiohttp_uvloop": [*side, "aiohttp", "--uvloop"],
                    "openai_sdk": [*side, "openai"],
                    "litellm": [sys.executable, HERE / "litellm_direct.py"],
                }
            )
        return self.running["python"]

    def contenders(self, argv: dict[str, list[str | Path]]) -> dict[str, Contender]:
        started = {name: self.start(name, *words) for name, words in argv.items()}
        return {name: Contender(process, [process.pid]) for name, process in started.items()}

    # ------------------------------------------------------------------------------------------ helpers

    def turns(self, count: int) -> int:
        return max(2, round(count * self.scale))

    def base(self, chunks: int, how: str = "n") -> str:
        """`n`: a stream as one body; `c`: each event in an HTTP chunk of its own."""
        return f"http://127.0.0.1:{self.up.port}/{how}/{chunks}/v1"

    def command(self, chunks: int, how: str = "n", **more: Any) -> dict[str, Any]:
        if chunks not in self.expected:
            self.expected[chunks] = self.up.get(f"/expected/{chunks}")
        return {"base": self.base(chunks, how), "expect": self.expected[chunks], **more}

    def compare(self, sides: dict[str, Contender], turns: int, **command: Any) -> dict[str, Sum]:
        """The same rounds on every side, in turns whose order rotates; LiteLLM makes a twentieth of them."""
        sums = {name: Sum() for name in sides}
        names = list(sides)
        slow = {**command, "n": max(command["at_once"], command["n"] // 20)}

        def one(name: str, into: Sum) -> None:
            sides[name].round(into, **(slow if name == "litellm" else command))

        for name in names:
            one(name, Sum())
        for turn in range(turns):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                one(name, sums[name])
        return sums

    # ------------------------------------------------------------------------------------------- phases

    def lonely(self) -> None:
        """One call at a time: ours and the floor in one process, in turns; then all in short rounds."""
        side = HERE / "native_python.py"
        duels = {
            "rust.ours.call.1.p50": self.start("duel", NATIVE, "duel"),
            "python.ours.call.1.p50": self.start("duel", sys.executable, side, "duel"),
            "python.ours_uvloop.call.1.p50": self.start("duel", sys.executable, side, "duel", "--uvloop"),
        }
        for name, process in duels.items():
            pair = Pair([], [])
            process.ask(**self.command(WORDS, n=50, at_once=1))
            for _ in range(self.turns(40)):
                took = process.ask(**self.command(WORDS, n=50, at_once=1))
                pair.ours += took["us"]
                pair.floor += took["baseline_us"]
            self.out.add(f"native.{name}", percentile(pair.ours, 0.5), "µs", percentile(pair.floor, 0.5))
        for language, sides, floor in self.languages():
            sums = self.compare(sides, self.turns(20), **self.command(WORDS, do="calls", n=25, at_once=1))
            for name in sides:
                if name == floor:
                    continue
                title = f"native.{language}.{name}.call.1"
                if f"{language}.{name}.call.1.p50" not in duels:
                    p50 = percentile(sums[name].us, 0.5), percentile(sums[floor].us, 0.5)
                    self.out.add(f"{title}.p50", p50[0], "µs", p50[1])
                self.cpu(f"{title}.cpu", sums[name], sums[floor])

    def languages(self) -> Iterator[tuple[str, dict[str, Contender], str]]:
        yield "rust", self.rust(), "reqwest"
        yield "python", self.python(), "aiohttp"

    def cpu(self, name: str, ours: Sum, floor: Sum) -> None:
        self.out.add(name, ours.cpu_us / ours.calls, "µs", floor.cpu_us / floor.calls)

    def busy(self) -> None:
        """Fifty calls at once: calls a second, the CPU of one; and whether the upstream held them up."""
        for language, sides, floor in self.languages():
            n = 4_000 if language == "rust" else 1_000
            before, begin = cpu_seconds(self.upstream.pid), time.monotonic()
            sums = self.compare(sides, self.turns(12), **self.command(WORDS, do="calls", n=n, at_once=50))
            busy = (cpu_seconds(self.upstream.pid) - before) / (time.monotonic() - begin)
            for name in sides:
                if name == floor:
                    continue
                title = f"native.{language}.{name}.call.50"
                self.out.add(f"{title}.rate", sums[name].rate, "calls/s", sums[floor].rate)
                self.cpu(f"{title}.cpu", sums[name], sums[floor])
            if language == "python":
                ours, theirs = sums["ours_uvloop"].rate, sums["aiohttp_uvloop"].rate
                title = "native.python.ours_uvloop.call.50.rate_vs_aiohttp_uvloop"
                self.out.add(title, ours, "calls/s", theirs)
            self.out.add(f"native.{language}.upstream.busy", busy, "of one core")

    def chunks(self) -> None:
        """One more chunk of a stream: a long answer minus a short one, by time and by CPU.

        As one body (the bytes come in large reads, bad for some peers), and `framed`: each event in an
        HTTP chunk of its own.
        """
        for language, sides, floor in self.languages():
            # The Python sides speak OpenAI's wire.
            for wire in ("openai", "anthropic") if language == "rust" else ("openai",):
                speak = {k: v for k, v in sides.items() if wire == "openai" or k != "async_openai"}
                for how in ("n", "c"):
                    self.chunks_of(language, speak, floor, wire, how)

    def chunks_of(self, language: str, sides: dict[str, Contender], floor: str, wire: str, how: str) -> None:
        per = self.per_chunk(sides, LONG, wire, how=how)
        shape = ".framed" if how == "c" else ""
        for name in sides:
            if name == floor:
                continue
            for place, what in enumerate(("wall", "cpu")):
                title = f"native.{language}.{name}.chunk.{wire}{shape}.{what}"
                self.out.add(title, per[name][place], "µs", per[floor][place])

    def per_chunk(
        self, sides: dict[str, Contender], long: int, wire: str, *, how: str = "n", turns: int = 15
    ) -> dict[str, tuple[float, float]]:
        """Microseconds of time and of CPU, by side."""
        took = {
            chunks: self.compare(
                sides,
                self.turns(turns),
                **self.command(chunks, how, do="streams", n=10, at_once=1, wire=wire),
            )
            for chunks in (SHORT, long)
        }

        def more(name: str, of: Callable[[Sum], float]) -> float:
            return (of(took[long][name]) - of(took[SHORT][name])) / (long - SHORT)

        return {
            name: (
                more(name, lambda sums: percentile(sums.us, 0.5)),
                more(name, lambda sums: sums.cpu_us / sums.calls),
            )
            for name in sides
        }

    def growth(self) -> None:
        """A chunk of a stream of 20,000 beside one of a stream of 1,000: no work grows with what has come."""
        ours = {"ours": self.rust()["ours"]}
        cost = {long: self.per_chunk(ours, long, "openai", turns=8)["ours"] for long in (1_000, 20_000)}
        self.out.add("native.growth.rust.chunk.cpu", cost[20_000][1], "µs", cost[1_000][1])
        python = {"ours": self.python()["ours"]}
        cost = {long: self.per_chunk(python, long, "openai", turns=8)["ours"] for long in (1_000, 20_000)}
        self.out.add("native.growth.python.chunk.cpu", cost[20_000][1], "µs", cost[1_000][1])

    def memory(self) -> None:
        """Resident memory of a Rust process without Python that holds 100 streams open."""
        process = self.start("hold", NATIVE, "hold")
        bare = memory_mb(process.pid)
        process.ask(base=self.up.base(10_000, 50_000), n=100)
        time.sleep(1)  # some twenty more chunks of each
        self.out.add("native.memory.streams_100.resident", memory_mb(process.pid), "MB", bare)

    def first(self) -> None:
        """From the start of the process to the first token of a native stream, and out."""
        env = clean_environment(OMNI_BRIDGE_PYTHON=sys.executable)
        base, expect = self.base(WORDS, "c"), self.up.get(f"/expected/{WORDS}")
        python = sys.executable
        runs: dict[str, list[str | Path]] = {
            "rust": [NATIVE, "once", base, expect],
            "asyncio": [python, "-c", "import asyncio; asyncio.run(asyncio.sleep(0))"],
            "python": [python, "-c", FIRST, base, expect],
        }
        took: dict[str, list[float]] = {name: [] for name in runs}
        for argv in runs.values():
            once(argv, env)
        for _ in range(self.turns(40)):
            for name, argv in runs.items():
                took[name].append(once(argv, env)[0])
        half = {name: percentile(times, 0.5) for name, times in took.items()}
        self.out.add("native.start.first_token.rust", half["rust"], "ms")
        self.out.add("native.start.first_token.python", half["python"], "ms", half["asyncio"])
        self.out.add("native.start.first_token.python_over_asyncio", half["python"] - half["asyncio"], "ms")

    def instructions(self) -> None:
        """What callgrind counts: one more chunk, and a plain call without its socket."""
        if shutil.which("valgrind") is None:
            print("bench: no valgrind here: the instructions are not counted", file=sys.stderr)
            return
        for wire in WIRES:
            ours, serde = (
                (counted(kind, wire, "2200") - counted(kind, wire, "200")) / 2_000
                for kind in ("chunks", "serde")
            )
            self.out.add(f"native.instructions.{wire}.chunk", ours, "instructions", serde)
        for wire in WIRES:
            self.out.add(f"native.instructions.{wire}.call", counted("call", wire), "instructions")
        long, short = (
            (counted("chunks", "openai", str(n)) - counted("chunks", "openai", "200"))
            for n in (20_200, 1_200)
        )
        self.out.add("native.growth.instructions.chunk", long / 20_000, "instructions", short / 1_000)

    def whole(self) -> None:
        """The instructions of the whole client in its process, without the kernel's."""
        if shutil.which("valgrind") is None:
            return
        calls, chunks = 500, 20_000
        per: dict[str, tuple[float, float]] = {}
        for side in ("raw", "native", "own-host"):
            call = self.counted_side(side, "calls", WORDS, calls + 100) - self.counted_side(
                side, "calls", WORDS, 100
            )
            chunk = self.counted_side(side, "streams", chunks + SHORT, 1) - self.counted_side(
                side, "streams", SHORT, 1
            )
            per[side] = (call / calls, chunk / chunks)
        for side, name in (("native", "ours"), ("own-host", "ours_own_host")):
            for place, what in enumerate(("call", "chunk")):
                title = f"native.rust.{name}.{what}.instructions"
                self.out.add(title, per[side][place], "instructions", per["raw"][place])

    def counted_side(self, side: str, do: str, chunks: int, n: int) -> int:
        command = json.dumps(self.command(chunks, "n", do=do, n=n, at_once=1))
        return callgrind([str(NATIVE), side], [], command + "\n")


# What a user would write for one token.
FIRST = """
import asyncio, sys, omni_bridge
async def main():
    stream = omni_bridge.stream(model="openai/gpt-4o", messages=[{"role": "user", "content": "Hi"}],
        api_base=sys.argv[1], api_key="test-key", engine="native")
    async with stream as events:
        async for event in events:
            if event.type == "text_delta":
                assert sys.argv[2].startswith(event.text)
                return
asyncio.run(main())
"""


def counted(*arguments: str) -> int:
    """How many instructions the counted function of bench-decode took."""
    return callgrind([str(DECODE), *arguments], ["--collect-atstart=no", "--toggle-collect=*counted_*"], "")


def callgrind(argv: list[str], options: list[str], given: str) -> int:
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *options]
    done = subprocess.run([*valgrind, *argv], input=given, capture_output=True, text=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr)
    if done.returncode != 0 or found is None or found[1] == "0":
        raise SystemExit(f"bench: callgrind counted nothing of {' '.join(argv)}:\n{done.stderr}")
    return int(found[1])


def changes(out: Records) -> list[str]:
    """How the instruction counts differ from the ones that are committed."""
    if not WRITTEN.exists():
        return []
    before = {record.name: record.value for record in read(WRITTEN)}
    lines: list[str] = []
    for record in out.all:
        if record.unit == "instructions" and record.name in before:
            change = record.value / before[record.name] - 1
            mark = "" if abs(change) <= 0.05 else "  MORE THAN 5 %"
            lines.append(f"  {record.name}: {change:+.2%} since the committed run{mark}")
    return lines


def merged(out: Records) -> Records:
    """The committed records with those that were measured now in their place."""
    now = {record.name: record for record in out.all}
    whole = Records()
    whole.all = [now.pop(record.name, record) for record in read(WRITTEN)] if WRITTEN.exists() else []
    whole.all += now.values()
    return whole


@contextlib.contextmanager
def everything(scale: float) -> Iterator[Native]:
    env = clean_environment(OMNI_BRIDGE_PYTHON=sys.executable)
    with contextlib.ExitStack() as stack:

        def start(name: str, *argv: str | Path) -> Process:
            return stack.enter_context(started(name, argv, env))

        upstream = start("upstream", TARGET / "bench-upstream")
        yield Native(Upstream(upstream.hello["port"]), upstream, start, scale)


PHASES: dict[str, Callable[[Native], None]] = {
    "lonely": Native.lonely,
    "busy": Native.busy,
    "chunks": Native.chunks,
    "growth": Native.growth,
    "memory": Native.memory,
    "first": Native.first,
    "whole": Native.whole,
    "instructions": Native.instructions,
}


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
        return 0  # --only named phases of run.py
    begin = time.monotonic()
    with everything(0.25 if options.quick else 1.0) as bench:
        for name, phase in PHASES.items():
            if name in wanted:
                print(f"bench: {name} ({time.monotonic() - begin:.0f} s so far)", file=sys.stderr, flush=True)
                phase(bench)
    records = bench.out.all
    print(table(records))
    print(summary(records, "native", whole=wanted == set(PHASES)))
    print("\n".join(changes(bench.out)))
    absent = [name for name, path in PEERS.items() if not path.exists()]
    if absent:
        print(f"not built, so not compared: {', '.join(absent)} (bash benches/peers/build.sh)")
    if options.record or not (options.quick or options.only):
        whole = merged(bench.out) if options.only else bench.out
        whole.write(WRITTEN)
        (RESULTS / "native.svg").write_text(draw_groups(whole.all, NATIVE_ROWS))
        print(
            f"written: {RESULTS.relative_to(ROOT)}/native.json, native.svg ({time.monotonic() - begin:.0f} s)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
