"""The native protocols over the recordings, without a network: ``python -m tests.replay.offline all``.

Every recorded answer of the protocol is decoded by `rust/providers/examples/offline.rs`, cut in several ways,
and compared with the plain reading; every recorded request, rebuilt as a request of the contract, is encoded
again and compared in meaning with the recorded one.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from omni_bridge.errors import OmniError, error_for

from . import rebuild
from .cases import NATIVE, ROOT, Case, cases
from .run import compare

CUTS = {"whole": 0, "byte": 1, "three": 3, "random(7)": -7}


def build() -> str:
    command = [
        "cargo",
        "build",
        "--quiet",
        "-p",
        "omni-providers",
        "--example",
        "offline",
        "--message-format=json",
    ]
    out = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    found = [json.loads(line) for line in out.splitlines()]
    return next(one["executable"] for one in found if one.get("executable"))


class Offline:
    """The Rust side as a child process: one document a line in, one a line out."""

    def __init__(self) -> None:
        self.child = subprocess.Popen([build()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, **job: Any) -> dict[str, Any]:
        assert self.child.stdin
        assert self.child.stdout
        self.child.stdin.write(json.dumps(job) + "\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"the Rust side died with {self.child.wait()}")
        return json.loads(line)


def applicable(protocol: str, only: str = "") -> Iterator[Case]:
    for case in cases(only=only):
        if NATIVE.get(case.endpoint) == protocol and case.reason is None:
            yield case


def provider_of(case: Case) -> str:
    model = case.request["model"]
    return model.split("/", 1)[0] if "/" in model else rebuild.PROVIDERS.get(case.file, "openai")


def request_of(case: Case, provider: str) -> dict[str, Any]:
    """The request, with the address where OpenAI's own wire was spoken by somebody else."""
    host = urlsplit(case.interaction.url).netloc
    home = host == "api.openai.com" if "." in host else case.file == "openai"
    if provider != "openai" or home or case.endpoint != "chat/completions":
        return case.request
    return {**case.request, "api_base": f"http://{case.file}.example/v1"}


def wire_model(case: Case) -> str:
    body = json.loads(case.interaction.request_body)
    return body.get("model") or case.interaction.url.rsplit("/", 1)[-1].split(":")[0]


def answer_of(result: dict[str, Any]) -> tuple[dict[str, Any] | None, OmniError | None]:
    if "reply" in result:
        return result["reply"], None
    if "said" in result:
        return None, error_for("provider")(json.dumps(result["said"])[:200])
    return None, error_for("protocol")(result["protocol"])


def differences(want: Any, got: Any, path: str = "") -> Iterator[str]:
    """Where two JSON values differ: paths with what was wanted and what came."""
    if isinstance(want, dict) and isinstance(got, dict):
        for key in {**want, **got}:
            yield from differences(want.get(key), got.get(key), f"{path}.{key}")
    elif isinstance(want, list) and isinstance(got, list) and len(want) == len(got):
        for at, (one, other) in enumerate(zip(want, got, strict=True)):
            yield from differences(one, other, f"{path}[{at}]")
    elif want != got:
        yield f"{path}: wanted {json.dumps(want)[:160]} got {json.dumps(got)[:160]}"


def meaning(protocol: str) -> Callable[[dict[str, Any], Case], dict[str, Any]]:
    """What makes two bodies of this protocol equal in meaning: `tests/replay/meaning_<protocol>.py`."""
    try:
        return importlib.import_module(f".meaning_{protocol}", __package__).normalise
    except ModuleNotFoundError:
        return lambda body, case: body


@dataclass
class Found:
    """What one protocol did with the recordings."""

    answers: Counter[str] = field(default_factory=Counter)
    requests: Counter[str] = field(default_factory=Counter)
    shown: list[str] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def well(self) -> bool:
        """No answer is read otherwise; few requests were written in a way that nobody would write again."""
        return not self.answers["different"] and self.requests["equal"] >= 0.995 * self.requests.total()

    def answer(self, rust: Offline, protocol: str, case: Case) -> None:
        for cut, size in CUTS.items():
            result = rust(
                op="decode", protocol=protocol, provider=provider_of(case), model=wire_model(case),
                body=case.interaction.body, cut=size,
            )  # fmt: skip
            different = compare(case, *answer_of(result))
            self.answers["different" if different else "equal"] += 1
            for name, text in different:
                self.kinds[f"answer {name}"] += 1
                self.shown.append(f"answer {case.name} [{cut}] {name}: {text}")

    def request(self, rust: Offline, protocol: str, case: Case) -> None:
        provider, normalise = provider_of(case), meaning(protocol)
        recorded = json.loads(case.interaction.request_body)
        # An answer that is an error does not show that a stream was asked for.
        streamed = case.interaction.streamed or recorded.get("stream") is True
        result = rust(
            op="encode", protocol=protocol, provider=provider, model=wire_model(case),
            stream=streamed, request=request_of(case, provider),
        )  # fmt: skip
        if "body" not in result:
            found = [str(result)[:300]]
        else:
            found = list(differences(normalise(recorded, case), normalise(result["body"], case)))
        self.requests["different" if found else "equal"] += 1
        for text in found[:3]:
            self.kinds[f"request {text.split(':')[0]}"] += 1
            self.shown.append(f"request {case.name} {text}")


def played(rust: Offline, protocol: str, *, only: str = "", what: str = "both") -> Found:
    """The recordings of one protocol through its decoder, its encoder, or both."""
    found = Found()
    for case in applicable(protocol, only):
        if what != "requests" and case.interaction.status == 200:
            found.answer(rust, protocol, case)
        if what != "answers":
            found.request(rust, protocol, case)
    return found


PROTOCOLS = sorted(set(NATIVE.values()))


def main() -> int:
    parse = argparse.ArgumentParser()
    parse.add_argument("protocol", choices=[*PROTOCOLS, "all"])
    parse.add_argument("--only", default="", help="files of the corpus whose path holds this")
    parse.add_argument("--what", choices=("answers", "requests", "both"), default="both")
    parse.add_argument("--show", type=int, default=20)
    asked = parse.parse_args()
    rust, well = Offline(), True
    for protocol in PROTOCOLS if asked.protocol == "all" else [asked.protocol]:
        found = played(rust, protocol, only=asked.only, what=asked.what)
        print("\n".join(found.shown[: asked.show]))
        print(f"{protocol}: answers {dict(found.answers)} requests {dict(found.requests)}")
        if found.kinds:
            print(found.kinds.most_common(20))
        well = well and found.well
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main())
