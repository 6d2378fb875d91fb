"""Compares the doors in one run, on one fixed upstream that is not Python.

    make bench                                   builds, runs, prints the table, writes benches/results
    python benches/doors/run.py --quick          a run of a minute that writes nothing, to try a change
    python benches/doors/run.py --only hop,cancel

Sides, each a process of its own, all warm before anything is timed:
  litellm   LiteLLM called directly from Python (the baseline; same LiteLLM settings as ours)
  rust      crate omni-bridge, embedded engine
  python    omni_bridge.achat / stream
  http      crate omni-bridge with bridge_url, to `omni serve` (its CPU and memory count the server too)
The upstream (benches/rust/src/bin/upstream.rs, tokio, one thread) answers from canned bytes. Sides take turns
in short rounds, in an order that rotates, so that a noisy second hits all of them. CPU is the process's own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _picture import draw
from _process import Process, SideError, clean_environment, cpu_seconds, memory_mb, started
from _records import Records, percentile, summary, table
from _side import KEY, MODEL, QUESTION

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
RESULTS = HERE.parent / "results"
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
RUST = TARGET / "bench-rust"
AT_ONCE = (1, 8, 50)
SIDES = ("rust", "python", "http")


@dataclass
class Upstream:
    """The canned provider."""

    port: int

    def base(self, chunks: int, pace_us: int = 0) -> str:
        return f"http://127.0.0.1:{self.port}/s/{chunks}/{pace_us}/v1"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as reply:
            return json.load(reply)


@dataclass
class Sum:
    """What one side's rounds of one kind add up to."""

    us: list[float] = field(default_factory=list)
    first_us: list[float] = field(default_factory=list)
    wall_us: float = 0.0
    cpu_us: float = 0.0

    @property
    def calls(self) -> int:
        return len(self.us)

    @property
    def rate(self) -> float:
        return self.calls / self.wall_us * 1e6


@dataclass
class Contender:
    """A side, and the processes whose CPU and memory are its."""

    process: Process
    pids: list[int]

    def cpu(self) -> float:
        return sum(cpu_seconds(pid) for pid in self.pids) * 1e6

    def memory(self) -> float:
        return sum(memory_mb(pid) for pid in self.pids)

    def round(self, into: Sum, **command: Any) -> None:
        before = self.cpu()
        answer = self.process.ask(**command)
        into.cpu_us += self.cpu() - before
        into.us += answer["us"]
        into.first_us += answer.get("first_us", [])
        into.wall_us += answer["wall_us"]


class Bench:
    """One run: the processes, and what was measured of them."""

    def __init__(
        self, upstream: Upstream, sides: dict[str, Contender], hop: dict[str, Contender], scale: float
    ) -> None:
        self.up = upstream
        self.sides = sides
        self.hop_sides = hop
        self.scale = scale
        self.out = Records()
        self.expected: dict[int, str] = {}

    def turns(self, count: int) -> int:
        return max(2, round(count * self.scale))

    def command(self, do: str, chunks: int, n: int, at_once: int) -> dict[str, Any]:
        if chunks not in self.expected:
            self.expected[chunks] = self.up.get(f"/expected/{chunks}")
        expect = self.expected[chunks]
        return {"do": do, "base": self.up.base(chunks), "expect": expect, "n": n, "at_once": at_once}

    def compare(self, sides: dict[str, Contender], turns: int, **command: Any) -> dict[str, Sum]:
        """The same rounds on every side, in turns whose order rotates."""
        sums = {name: Sum() for name in sides}
        names = list(sides)
        for name in names:
            sides[name].round(Sum(), **command)
        for turn in range(turns):
            shift = turn % len(names)
            for name in names[shift:] + names[:shift]:
                sides[name].round(sums[name], **command)
        return sums

    # ------------------------------------------------------------------------------------------ phases

    def hop(self) -> None:
        """Rust → Python loop → Rust, beside a round trip over HTTP; nothing else is done.

        Over HTTP twice: to a bare FastAPI that echoes, the least that such a bridge can cost (the bars are
        against this one), and to our own service.
        """
        for at_once, n, turns in ((1, 25, 60), (8, 400, 15), (50, 1000, 15)):
            sums = self.compare(
                self.hop_sides, self.turns(turns), do="echo", n=n, at_once=at_once, data={"text": "x" * 200}
            )
            ours = sums["embedded"]
            for other in ("fastapi", "omni_serve"):
                http = sums[other]
                title = f"hop.embedded_vs_{'http_fastapi' if other == 'fastapi' else other}"
                name = title if at_once == 1 else f"{title}.{at_once}"
                self.out.add(f"{name}.p50", percentile(ours.us, 0.5), "µs", percentile(http.us, 0.5))
                self.out.add(f"{name}.p99", percentile(ours.us, 0.99), "µs", percentile(http.us, 0.99))
                if at_once == 50:
                    self.out.add(f"{title}.rate", ours.rate, "calls/s", http.rate)
                self.out.add(f"{name}.cpu", ours.cpu_us / ours.calls, "µs", http.cpu_us / http.calls)

    def crossing(self) -> None:
        """One more event from the Python loop into Rust: long minus short answers of the echo op."""
        side = self.hop_sides["embedded"]
        short, long = 100, 20_100
        wall, cpu = [], []
        for _ in range(self.turns(15)):
            took: dict[int, tuple[float, float]] = {}
            for chunks in (short, long):
                before = side.cpu()
                answer = side.process.ask(do="echo_chunks", chunks=chunks, data={"text": "bananas "})
                took[chunks] = (answer["wall_us"], side.cpu() - before)
            wall.append((took[long][0] - took[short][0]) / (long - short))
            cpu.append((took[long][1] - took[short][1]) / (long - short))
        self.out.add("chunk.crossing.wall", percentile(wall, 0.5), "µs")
        self.out.add("chunk.crossing.cpu", percentile(cpu, 0.5), "µs")

    def calls(self) -> None:
        """Whole answers, not streamed."""
        for at_once, n, turns in ((1, 5, 60), (8, 80, 12), (50, 250, 8)):
            sums = self.compare(self.sides, self.turns(turns), **self.command("calls", 20, n, at_once))
            self.report("call", sums, at_once)

    def streams(self) -> None:
        """Answers of 20 chunks, streamed as fast as the upstream writes."""
        for at_once, n, turns in ((1, 3, 50), (8, 40, 8), (50, 150, 5)):
            sums = self.compare(self.sides, self.turns(turns), **self.command("streams", 20, n, at_once))
            self.report("stream", sums, at_once)

    def report(self, kind: str, sums: dict[str, Sum], at_once: int) -> None:
        base = sums["litellm"]
        for name in SIDES:
            ours = sums[name]
            title = f"{kind}.{name}_vs_litellm.{at_once}"
            for label, share in (("p50", 0.5), ("p99", 0.99)):
                self.out.add(f"{title}.{label}", percentile(ours.us, share), "µs", percentile(base.us, share))
            if kind == "stream":
                self.out.add(
                    f"{title}.first_event.p50",
                    percentile(ours.first_us, 0.5),
                    "µs",
                    percentile(base.first_us, 0.5),
                )
            self.out.add(f"{title}.rate", ours.rate, "calls/s", base.rate)
            self.out.add(f"{title}.cpu", ours.cpu_us / ours.calls, "µs", base.cpu_us / base.calls)

    def chunks(self) -> None:
        """One more chunk of a provider's stream, through each side: long minus short answers."""
        short, long = 20, 1020
        took = {
            chunks: self.compare(self.sides, self.turns(8), **self.command("streams", chunks, 2, 1))
            for chunks in (short, long)
        }
        per = {
            name: (
                (percentile(took[long][name].us, 0.5) - percentile(took[short][name].us, 0.5))
                / (long - short),
                (
                    took[long][name].cpu_us / took[long][name].calls
                    - took[short][name].cpu_us / took[short][name].calls
                )
                / (long - short),
            )
            for name in self.sides
        }
        for name in SIDES:
            self.out.add(f"chunk.{name}_vs_litellm.wall", per[name][0], "µs", per["litellm"][0])
            self.out.add(f"chunk.{name}_vs_litellm.cpu", per[name][1], "µs", per["litellm"][1])

    def memory(self) -> None:
        """Resident memory of each side after all of the above, fifty streams at once among it."""
        base = self.sides["litellm"].memory()
        for name in SIDES:
            self.out.add(f"memory.{name}_vs_litellm.resident", self.sides[name].memory(), "MB", base)

    def cancel(self) -> None:
        """Fifty streams of 20 chunks a second, broken off after one to five: when did the socket close?"""
        base: list[float] = []
        for name in ("litellm", *SIDES):
            self.up.get("/streams")
            late: list[float] = []
            whole = 0
            for turn in range(self.turns(8)):
                names = [f"{name}-{turn}-{i}" for i in range(50)]
                after = [1 + i % 5 for i in range(50)]
                told = self.sides[name].process.ask(
                    do="cancel", base=self.up.base(400, 50_000), names=names, after=after
                )["cancelled_ns"]
                closed = self.closed(set(names))
                for user in names:
                    if closed[user]["chunks"] >= 400:
                        whole += 1
                    late.append((closed[user]["closed_ns"] - told[user]) / 1e6)
            if whole:
                raise SystemExit(f"bench: {name}: {whole} cancelled streams ran to their end")
            if name == "litellm":
                base = late
                continue
            for label, share in (("p50", 0.5), ("p99", 0.99)):
                self.out.add(
                    f"cancel.{name}.socket_closed.{label}",
                    percentile(late, share),
                    "ms",
                    percentile(base, share),
                )

    def closed(self, names: set[str]) -> dict[str, Any]:
        """The upstream's own log, asked until all these sockets are closed."""
        seen: dict[str, Any] = {}
        deadline = time.monotonic() + 30
        while names - seen.keys():
            if time.monotonic() > deadline:
                raise SystemExit(
                    f"bench: {len(names - seen.keys())} cancelled streams still hold their socket"
                )
            seen |= {entry["user"]: entry for entry in self.up.get("/streams")}
            time.sleep(0.02)
        return seen


# ---------------------------------------------------------------------------------------------- cold start


def once(argv: list[str | Path], env: dict[str, str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run([str(part) for part in argv], env=env, capture_output=True, text=True, check=True)
    return (time.perf_counter() - begin) * 1e3, done.stdout


def served_once(base: str, expect: str, env: dict[str, str]) -> float:
    """From the start of `omni serve` to the whole of its first answer."""
    body = {
        "model": MODEL,
        "messages": [{"role": "user", "content": QUESTION}],
        "api_base": base,
        "api_key": KEY,
        "engine": "litellm",
    }
    argv = [sys.executable, "-m", "omni_bridge", "serve", "--port", "0", "--json", "--quiet"]
    begin = time.perf_counter()
    with started("omni serve", [*argv, "--allow-endpoints"], env) as server:
        asked = urllib.request.Request(
            f"{server.hello['url']}/chat",
            data=json.dumps(body).encode(),
            headers={"content-type": "application/json"},
        )
        with urllib.request.urlopen(asked, timeout=60) as reply:
            content = json.load(reply)["content"]
        took = (time.perf_counter() - begin) * 1e3
    if content != expect:
        raise SideError("omni serve answered something else")
    return took


def cold_start(out: Records, upstream: Upstream, env: dict[str, str], turns: int) -> None:
    """Process start to end: importing only, and to the whole of a first answer."""
    python = sys.executable
    base, expect = upstream.base(20), upstream.get("/expected/20")
    first = (
        "import asyncio, sys; sys.path.insert(0, sys.argv[1]); import {module} as m; s = m.{side}()\n"
        "assert asyncio.run(s.call(sys.argv[2])) == sys.argv[3]"
    )
    runs: dict[str, list[str | Path]] = {
        "bare": [python, "-c", "pass"],
        "import": [python, "-c", "import omni_bridge"],
        "ready": [python, "-c", "import omni_bridge; omni_bridge.chat"],
        "litellm": [python, "-c", first.format(module="litellm_direct", side="Direct"), HERE, base, expect],
        "python": [python, "-c", first.format(module="python_side", side="Door"), HERE, base, expect],
        "rust": [RUST, "once", base, expect],
    }
    took: dict[str, list[float]] = {name: [] for name in runs}
    for argv in runs.values():
        once(argv, env)
    for turn in range(turns):
        few = turn < max(2, turns // 4)
        for name, argv in runs.items():
            if few or name in {"bare", "import", "ready"}:
                took[name].append(once(argv, env)[0])
        if few:
            took.setdefault("http", []).append(served_once(base, expect, env))
    half = {name: percentile(times, 0.5) for name, times in took.items()}
    out.add("start.import_omni_bridge", half["import"], "ms", half["bare"])
    out.add("start.import_omni_bridge_over_bare", half["import"] - half["bare"], "ms")
    # The package imports itself lazily: with what a first call needs of it.
    out.add("start.import_chat_over_bare", half["ready"] - half["bare"], "ms")
    for name in SIDES:
        out.add(f"start.first_reply.{name}_vs_litellm", half[name], "ms", half["litellm"])


# -------------------------------------------------------------------------------------------------- run


@contextlib.contextmanager
def everything(scale: float, wanted: set[str]) -> Iterator[Bench]:
    """Starts the upstream, and the sides of the wanted phases."""
    env = clean_environment(OMNI_BRIDGE_PYTHON=sys.executable)
    python = sys.executable
    with contextlib.ExitStack() as stack:

        def start(name: str, *argv: str | Path) -> Process:
            return stack.enter_context(started(name, argv, env))

        upstream = Upstream(start("upstream", TARGET / "bench-upstream").hello["port"])
        rust = start("rust", RUST, "embedded")
        sides = {"rust": Contender(rust, [rust.pid])}
        hop = {"embedded": Contender(rust, [rust.pid])}

        def serve(*more: str) -> Process:
            argv = ["-m", "omni_bridge", "serve", "--port", "0", "--json", "--quiet", *more]
            return start("omni serve", python, *argv)

        if wanted & {"hop"}:
            fastapi = start("FastAPI echo", python, HERE / "fastapi_echo.py")
            echo = start("FastAPI client", RUST, "echo", f"http://127.0.0.1:{fastapi.hello['port']}/echo")
            hop["fastapi"] = Contender(echo, [echo.pid, fastapi.pid])
            service = serve("--echo")
            asker = start("omni serve's client", RUST, "echo", f"{service.hello['url']}/echo")
            hop["omni_serve"] = Contender(asker, [asker.pid, service.pid])
        if wanted & {"calls", "streams", "chunks", "memory", "cancel"}:
            direct = start("litellm", python, HERE / "litellm_direct.py")
            ours = start("python", python, HERE / "python_side.py")
            server = serve("--allow-endpoints")
            http = start("http", RUST, "bridge", server.hello["url"])
            sides = {
                "litellm": Contender(direct, [direct.pid]),
                **sides,
                "python": Contender(ours, [ours.pid]),
                "http": Contender(http, [http.pid, server.pid]),
            }
        yield Bench(upstream, sides, hop, scale)


PHASES: dict[str, Callable[[Bench], None]] = {
    "hop": Bench.hop,
    "crossing": Bench.crossing,
    "calls": Bench.calls,
    "streams": Bench.streams,
    "chunks": Bench.chunks,
    "memory": Bench.memory,
    "cancel": Bench.cancel,
}


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="a quarter of the rounds; writes nothing")
    parser.add_argument("--only", help="some of: " + ", ".join([*PHASES, "start"]) + "; writes nothing")
    options = parser.parse_args()
    wanted = set(options.only.split(",") if options.only else [*PHASES, "start"])
    begin = time.monotonic()
    with everything(0.25 if options.quick else 1.0, wanted) as bench:
        for name, phase in PHASES.items():
            if name in wanted:
                print(f"bench: {name} ({time.monotonic() - begin:.0f} s so far)", file=sys.stderr, flush=True)
                phase(bench)
        if "start" in wanted:
            print(f"bench: start ({time.monotonic() - begin:.0f} s so far)", file=sys.stderr, flush=True)
            env = clean_environment(OMNI_BRIDGE_PYTHON=sys.executable)
            cold_start(bench.out, bench.up, env, bench.turns(20))
    records = bench.out.all
    print(table(records))
    print(summary(records, "doors", whole=wanted == {*PHASES, "start"}))
    if not options.quick and not options.only:
        bench.out.write(RESULTS / "doors.json")
        (RESULTS / "doors.svg").write_text(draw(records))
        print(
            f"written: {RESULTS.relative_to(ROOT)}/doors.json, doors.svg ({time.monotonic() - begin:.0f} s)"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
