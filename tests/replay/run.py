"""Sends cases through both engines; compares the replies with the plain reading and with each other."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from omni_bridge.errors import OmniError
from omni_bridge.testing import Cassette, ReplayServer

from . import agree, reading
from .cases import NATIVE, Case

ENGINES = ("litellm", "native")

Cost = tuple[Case, float | None, float]
"""(case, what the native engine says that it cost, when it said so in seconds after 1970)"""


@dataclass
class Row:
    sent: int = 0
    equal: int = 0
    different: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    native_sent: int = 0
    native_equal: int = 0
    same: int = 0
    """Replies of the native engine that are those of LiteLLM in every field that both know."""


@dataclass
class Report:
    rows: dict[tuple[str, str], Row] = field(default_factory=lambda: defaultdict(Row))
    differences: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(engine and cut, case, what differs, wanted and got)"""
    disagreements: list[tuple[str, str, str, str]] = field(default_factory=list)
    """(cut, case, kind of difference, both values) where the two engines answered differently."""
    costs: list[Cost] = field(default_factory=list)

    def total(self, name: str) -> int:
        return sum(getattr(row, name) for row in self.rows.values())

    @property
    def sent(self) -> int:
        return sum(row.sent for row in self.rows.values())

    @property
    def equal(self) -> int:
        return sum(row.equal for row in self.rows.values())


async def ask(case: Case, base: str, engine: str = "litellm") -> dict[str, Any]:
    """The reply of one engine as a dict, through the public Python door."""
    import omni_bridge

    request = {
        **case.request,
        "api_base": api_base(case, base),
        "api_key": "recorded",
        "engine": engine,
        "timeout": 60,
        "retry": 0,
    }
    messages, model, tools = request.pop("messages"), request.pop("model"), request.pop("tools", None)
    if not case.interaction.streamed:
        reply = await omni_bridge.achat(messages, model, tools, **request)
        return json.loads(reply.to_json())
    stream = omni_bridge.stream(messages, model, tools, **request)
    async with stream:
        async for _ in stream:
            pass
        reply = await stream.reply()
    return json.loads(reply.to_json())


def api_base(case: Case, base: str) -> str:
    endpoint = case.endpoint
    if endpoint in ("messages", "converse", "invoke", "api/chat"):
        return base
    if endpoint == "v2/chat":
        return base + "/v2/chat"
    return base + ("/v1beta" if "enerateContent" in endpoint else "/v1")


def squash(parts: Iterable[str]) -> str:
    """How reasoning is split into parts, and joined, is nobody's rule."""
    return "".join("".join(parts).split())


def compare(case: Case, reply: dict[str, Any] | None, error: OmniError | None) -> list[tuple[str, str]]:
    """What differs, as (field, "wanted … got …"); empty if nothing does."""
    want = case.want
    if isinstance(want, reading.Refused):
        return _compare_error(case, want, error)
    if error is not None or reply is None or want is None:
        return [("error", repr(error)[:300])]
    message = reply["message"]
    parts = message["content"] if isinstance(message["content"], list) else []
    signatures = [
        p.get("signature") or p.get("encrypted") for p in parts if p.get("signature") or p.get("encrypted")
    ]
    calls = reply["tool_calls"]
    signatures += [call["signature"] for call in calls if call.get("signature")]
    signatures += [
        part["data"]["thoughtSignature"]
        for part in parts
        if part["type"] == "provider"
        and isinstance(part["data"], dict)
        and part["data"].get("thoughtSignature")
    ]
    got = reading.Answer(
        text=reply["content"],
        refusal=reply["refusal"] or "",
        reasoning=[part["text"] for part in reply["reasoning"]],
        signatures=signatures,
        calls=[_call(call) for call in calls],
        finish=reply["finish_reason"],
        usage=(reply["usage"]["input_tokens"], reply["usage"]["output_tokens"]),
    )
    out: list[tuple[str, str]] = []

    def differ(name: str, wanted: Any, had: Any) -> None:
        if wanted != had:
            out.append((name, f"wanted {str(wanted)[:150]!r} got {str(had)[:150]!r}"))

    apart = [squash([f"<{tag}>", *got.reasoning, f"</{tag}>", got.text]) for tag in ("think", "thinking")]
    if squash([want.text]) in apart:
        pass  # thinking that stands in the text may be told apart from it
    else:
        differ("text", want.text, got.text)
        differ("reasoning", squash(want.reasoning), squash(got.reasoning))
    differ("refusal", want.refusal, got.refusal)
    differ("signatures", sorted(want.signatures), sorted(got.signatures))
    differ("calls", want.calls, got.calls)
    if want.finish is not None:
        differ("finish", want.finish, got.finish)
    if want.usage != (None, None) and got.usage not in (want.usage, *want.also):
        differ("usage", want.usage, got.usage)
    return out


def _call(call: dict[str, Any]) -> tuple[str, Any]:
    body = call.get("function") or call.get("custom")
    return body["name"], reading.arguments(body.get("arguments", body.get("input")))


def _compare_error(case: Case, want: reading.Refused, error: OmniError | None) -> list[tuple[str, str]]:
    if error is None:
        return [("error", f"wanted an error ({want.code}) and got an answer")]
    if want.code == "status" and error.code == "invalid_request" and case.interaction.status == 400:
        return []  # refused before it was sent, for what the provider refused
    if want.code == "status" and error.status != case.interaction.status:
        return [("error", f"wanted status {case.interaction.status} got {error!r}"[:300])]
    if want.code == "protocol" and error.code != "protocol":
        return [("error", f"wanted protocol got {error!r}"[:300])]
    return []


async def run(
    cases: list[Case],
    cut: str = "random(7)",
    at_once: int = 8,
    report: Report | None = None,
    engines: Sequence[str] = ENGINES,
) -> Report:
    """All cases once through each of `engines`, their bodies cut one way."""
    report = report if report is not None else Report()
    sent = [case for case in cases if case.reason is None]
    for case in cases:
        if case.reason is not None:
            report.rows[case.row].reasons[case.reason] += 1
    gate = asyncio.Semaphore(at_once)

    async def attempt(
        case: Case, base: str, engine: str
    ) -> tuple[dict[str, Any] | None, OmniError | None, list[tuple[str, str]]]:
        reply: dict[str, Any] | None = None
        error: OmniError | None = None
        try:
            reply = await ask(case, base, engine)
        except OmniError as problem:
            error = problem
        different = compare(case, reply, error)
        report.differences += [(f"{engine} {cut}", case.name, name, text) for name, text in different]
        return reply, error, different

    def tapes(engine: str) -> list[Cassette]:
        return [case.cassette for case in sent if engine == "litellm" or case.endpoint in NATIVE]

    servers = {engine: ReplayServer(tapes(engine), cut=cut) for engine in engines}
    with contextlib.ExitStack() as stack:
        for server in servers.values():
            stack.enter_context(server)

        async def one(number: int, native_number: int | None, case: Case) -> None:
            async with gate:
                row = report.rows[case.row]
                answers: dict[str, tuple[dict[str, Any] | None, OmniError | None]] = {}
                if "litellm" in servers:
                    reply, error, different = await attempt(
                        case, servers["litellm"].url_of(number), "litellm"
                    )
                    answers["litellm"] = reply, error
                    row.sent += 1
                    row.different += bool(different)
                    row.equal += not different
                if "native" in servers and native_number is not None:
                    base = servers["native"].url_of(native_number)
                    reply, error, different = await attempt(case, base, "native")
                    answers["native"] = reply, error
                    if reply is not None:
                        report.costs.append((case, reply["usage"]["cost_usd"], time.time()))
                    row.native_sent += 1
                    row.native_equal += not different
                if len(answers) == 2:
                    found = list(agree.differences(answers["native"], answers["litellm"]))
                    row.same += not found
                    report.disagreements += [(cut, case.name, kind, text) for kind, text in found]

        native = itertools.count()
        await asyncio.gather(
            *(
                one(number, next(native) if case.endpoint in NATIVE else None, case)
                for number, case in enumerate(sent)
            )
        )
    return report
