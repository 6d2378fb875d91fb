"""What calls cost, by the catalogue and by LiteLLM: ``python -m tests.replay.costs``.

The provider's own usage of every recorded answer is read here, plainly, into the contract's usage, and priced
by `rust/client/examples/costs.rs`; LiteLLM prices what its own code makes of the same document. No network.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

from .cases import NATIVE, ROOT, Case, cases
from .offline import provider_of, wire_model
from .reading import Refused, events

os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_RUST="0")

Json = dict[str, Any]

EXPLAINED = {
    "unpriced": "LiteLLM says $0 of a model that it lists without a price; to us the cost is unknown",
    "told": "the answer says what it cost, and we take that; LiteLLM looks into its list, or finds none",
    "tools": "LiteLLM leaves out Gemini's toolUsePromptTokenCount, which Google charges as input",
    "details": "LiteLLM charges the prompt tokens that Gemini's details list; promptTokenCount has more",
    "cached sound": "LiteLLM charges sound from Gemini's cache as text from the cache, below its price",
    "advisor": "LiteLLM charges what another model advised at the price of the model that was asked",
}
"""Differences that are meant, by kind. Each but the first two is proved for each exchange: read as
LiteLLM reads it, the same usage has LiteLLM's price."""


def documents(case: Case) -> list[Any]:
    body = case.interaction.body
    if case.interaction.streamed and not body.lstrip().startswith(("{", "[")):
        return events(body)
    whole = json.loads(body)
    return whole if isinstance(whole, list) else [whole]


def raw_usage(case: Case) -> tuple[Json | None, str | None]:
    """The provider's usage object, the last one where several came, and the service tier."""
    usage: Json = {}
    tier: str | None = None
    for document in documents(case):
        if not isinstance(document, dict):
            continue
        inner = document.get("response") or document.get("message") or document
        inner = inner if isinstance(inner, dict) else {}
        for holder in (inner, document):
            found = holder.get("usage") or holder.get("usageMetadata")
            if isinstance(found, dict):
                # A messages stream tells the input first and the output last.
                usage.update({key: value for key, value in found.items() if value is not None})
            if isinstance(holder.get("service_tier"), str):
                tier = holder["service_tier"]
    if case.endpoint == "messages" and isinstance(usage.get("service_tier"), str):
        tier = usage["service_tier"]
    return (usage or None), tier


def count(holder: Any, *path: str) -> int | None:
    for name in path:
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder if isinstance(holder, int) and not isinstance(holder, bool) else None


def told(raw: Json) -> float | None:
    """What the provider says that the call cost."""
    cost = raw.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if cost is None and "cost_in_usd_ticks" in raw:
        cost = raw["cost_in_usd_ticks"] / 1e10
    return cost


def added(*counts: int | None) -> int | None:
    known = [one for one in counts if one is not None]
    return sum(known) if known else None


def contract_usage(endpoint: str, raw: Json) -> Json:
    if endpoint == "chat/completions":
        created = count(raw, "prompt_tokens_details", "cache_write_tokens")
        cached = count(raw, "prompt_tokens_details", "cached_tokens")
        return {
            "input_tokens": count(raw, "prompt_tokens"),
            "output_tokens": count(raw, "completion_tokens"),
            "cached_input_tokens": cached if cached is not None else count(raw, "prompt_cache_hit_tokens"),
            "cache_creation_input_tokens": None if created is None else {"5m": created},
            "reasoning_tokens": count(raw, "completion_tokens_details", "reasoning_tokens"),
            "raw": raw,
        }
    if endpoint == "responses":
        return {
            "input_tokens": count(raw, "input_tokens"),
            "output_tokens": count(raw, "output_tokens"),
            "cached_input_tokens": count(raw, "input_tokens_details", "cached_tokens"),
            "cache_creation_input_tokens": {"5m": count(raw, "input_tokens_details", "cache_write_tokens")},
            "reasoning_tokens": count(raw, "output_tokens_details", "reasoning_tokens"),
            "raw": raw,
        }
    if endpoint == "messages":
        by_age = raw.get("cache_creation")
        created = (
            {
                "5m": count(by_age, "ephemeral_5m_input_tokens"),
                "1h": count(by_age, "ephemeral_1h_input_tokens"),
            }
            if isinstance(by_age, dict)
            else {"5m": count(raw, "cache_creation_input_tokens")}
        )
        read = count(raw, "cache_read_input_tokens")
        return {
            "input_tokens": added(
                count(raw, "input_tokens"), read, count(raw, "cache_creation_input_tokens")
            ),
            "output_tokens": count(raw, "output_tokens"),
            "cached_input_tokens": read,
            "cache_creation_input_tokens": created,
            "server_tool_calls": raw.get("server_tool_use"),
            "raw": raw,
        }
    thought = count(raw, "thoughtsTokenCount")
    return {
        "input_tokens": added(count(raw, "promptTokenCount"), count(raw, "toolUsePromptTokenCount")),
        "output_tokens": added(count(raw, "candidatesTokenCount"), thought),
        "cached_input_tokens": count(raw, "cachedContentTokenCount"),
        "reasoning_tokens": thought,
        "raw": raw,
    }


def as_litellm(usage: Json) -> tuple[list[str], Json]:
    """The usage as LiteLLM reads it, and the kinds of differences that this makes."""
    kinds: list[str] = []
    usage = {**usage, "raw": {**usage["raw"]}}
    raw = usage["raw"]
    if "promptTokenCount" in raw:
        if raw.get("toolUsePromptTokenCount"):
            kinds.append("tools")
        listed = [one.get("tokenCount", 0) for one in raw.get("promptTokensDetails") or []]
        if listed and sum(listed) != raw["promptTokenCount"]:
            kinds.append("details")
        usage["input_tokens"] = sum(listed) if listed else raw["promptTokenCount"]
        if any(one.get("modality") == "AUDIO" for one in raw.get("cacheTokensDetails") or []):
            kinds.append("cached sound")
            sound = sum(one["tokenCount"] for one in raw["cacheTokensDetails"] if one["modality"] == "AUDIO")
            raw["promptTokensDetails"] = [
                {**one, "tokenCount": one["tokenCount"] - sound} if one["modality"] == "AUDIO" else one
                for one in raw["promptTokensDetails"]
            ]
            del raw["cacheTokensDetails"]
    if any("model" in one for one in raw.get("iterations") or []):
        kinds.append("advisor")
        raw["iterations"] = [
            {key: value for key, value in one.items() if key != "model"} for one in raw["iterations"]
        ]
    return kinds, usage


class LiteLLM:
    """What LiteLLM makes of a usage, and what it says that it costs."""

    def __init__(self) -> None:
        import logging

        import litellm  # noqa: TID251  the comparison is with LiteLLM itself

        logging.disable(logging.CRITICAL)
        litellm.suppress_debug_info = True
        self.litellm = litellm

    def usage(self, endpoint: str, raw: Json) -> Any:
        if endpoint == "chat/completions":
            return self.litellm.Usage(**raw)
        if endpoint == "responses":
            from litellm.responses.utils import ResponseAPILoggingUtils  # noqa: TID251  as above

            return ResponseAPILoggingUtils._transform_response_api_usage_to_chat_usage(raw)
        if endpoint == "messages":
            return self.litellm.AnthropicConfig().calculate_usage(usage_object=raw, reasoning_content=None)
        return self.litellm.VertexGeminiConfig._calculate_usage({"usageMetadata": raw})

    def cost(self, case: Case, provider: str, model: str, raw: Json, tier: str | None) -> float | None:
        try:
            usage = self.usage(case.endpoint, raw)
            response = self.litellm.ModelResponse(model=model, usage=usage)
            if provider == "openrouter" and "cost" in raw:
                # Its own reader of OpenRouter's answers puts the cost that stands in them here.
                said = {"llm_provider-x-litellm-response-cost": float(raw["cost"])}
                response._hidden_params["additional_headers"] = said
            priced = self.litellm.cost_calculator.response_cost_calculator(
                response_object=response,
                model=model,
                custom_llm_provider=provider,
                call_type="acompletion",
                optional_params={},
                service_tier=tier,
            )
            return None if priced is None else float(priced)
        except Exception:  # noqa: BLE001  LiteLLM raises bare exceptions where it knows no price
            return None


def build() -> str:
    command = ["cargo", "build", "--quiet", "-p", "omni-bridge", "--example", "costs"]
    out = subprocess.run(
        [*command, "--message-format=json"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    found = [json.loads(line) for line in out.splitlines()]
    return next(one["executable"] for one in found if one.get("executable"))


def ours(jobs: list[Json]) -> list[float | None]:
    text = "".join(json.dumps(job) + "\n" for job in jobs)
    out = subprocess.run([build()], input=text, capture_output=True, text=True, check=True).stdout
    return [json.loads(line) for line in out.splitlines()]


def exchanges(only: str) -> Iterator[tuple[Case, Json, str | None]]:
    for case in cases(only=only):
        if case.endpoint not in NATIVE or case.reason or case.interaction.status != 200:
            continue
        if isinstance(case.want, Refused):
            continue
        try:
            raw, tier = raw_usage(case)
        except ValueError:
            continue
        if raw is not None:
            yield case, raw, tier


def kind_of(mine: float | None, theirs: float | None) -> str:
    if mine is None and theirs is None:
        return "both unknown"
    if (
        mine is not None
        and theirs is not None
        and abs(mine - theirs) <= 1e-9 * max(abs(mine), abs(theirs), 1e-6)
    ):
        return "equal"
    if mine is None and theirs == 0:
        return "unpriced"
    return "different"


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="files of the corpus whose path holds this")
    parser.add_argument("--show", type=int, default=30)
    asked = parser.parse_args()
    litellm, now = LiteLLM(), int(time.time())
    found = list(exchanges(asked.only))
    theirs, jobs = [], []
    for case, raw, tier in found:
        provider, model = provider_of(case), wire_model(case)
        if "openrouter.ai" in case.interaction.url:
            provider = "openrouter"
        theirs.append(litellm.cost(case, provider, model, raw, tier))
        usage = contract_usage(case.endpoint, raw)
        jobs.append({"model": f"{provider}/{model}", "usage": usage, "service_tier": tier, "at": now})
    readings = [as_litellm(job["usage"]) for job in jobs]
    read_alike = ours([{**job, "usage": usage} for job, (_, usage) in zip(jobs, readings, strict=True)])
    counted: Counter[str] = Counter()
    shown = 0
    for at, (mine, other) in enumerate(zip(ours(jobs), theirs, strict=True)):
        kind = kind_of(mine, other)
        kinds, _ = readings[at]
        if kind == "different" and mine is not None and mine == told(jobs[at]["usage"]["raw"]):
            kind = "told"
        if kind == "different" and kinds and kind_of(read_alike[at], other) == "equal":
            kind = ", ".join(kinds)
        counted[kind] += 1
        if kind == "different" and shown < asked.show:
            shown += 1
            raw = json.dumps(jobs[at]["usage"]["raw"])[:600]
            print(found[at][0].name, jobs[at]["model"], f"ours {mine} LiteLLM {other}", raw)
    total = sum(counted.values())
    same = counted["equal"] + counted["both unknown"]
    share = 100 * same / max(total, 1)
    print(f"{total} recorded usages, {same} priced alike ({share:.2f}%): {dict(counted)}")
    for kind, why in EXPLAINED.items():
        if any(kind in name for name in counted):
            print(f"  {kind}: {why}")
    return 1 if counted["different"] else 0


if __name__ == "__main__":
    sys.exit(main())
