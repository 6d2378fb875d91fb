"""What the native engine says that a call cost, beside LiteLLM's own price of the same recorded answer.

`python -m tests.replay` judges the costs of the replies that it got; `python -m tests.replay.costs` asks the
native engine for that alone. LiteLLM prices what its own code makes of the recorded document. No network.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import logging
import math
import os
import sys
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any
from unittest.mock import patch

from .cases import Case, cases
from .offline import provider_of, wire_model
from .reading import events
from .run import Cost, run

Json = dict[str, Any]

ALIKE = ("equal", "unknown to both")

EXPLAINED = {
    "unpriced": "LiteLLM says $0 of a model that it lists without a price; to us the cost is unknown",
    "told": "the answer says what it cost, and we take that; LiteLLM looks into its list, or finds none",
    "tools": "LiteLLM leaves out Gemini's toolUsePromptTokenCount, which Google charges as input",
    "details": "LiteLLM charges the prompt tokens that Gemini's details list; promptTokenCount has more",
    "cached sound": "LiteLLM charges sound from Gemini's cache as text from the cache, below its price",
    "advisor": "LiteLLM charges what another model advised at the price of the model that was asked",
    "cached": "LiteLLM does not read Mistral's num_cached_tokens, and charges them in full",
    "grounded": "a gap of ours: LiteLLM adds what Google's own search costs, and we do not count it",
}
"""Differences that are known, by kind. Each but the first two is proved for each exchange: told what it does
not read (or, where the gap is ours, not told it), LiteLLM itself names our price."""


def documents(case: Case) -> list[Json]:
    body = case.interaction.body
    if case.interaction.streamed and not body.lstrip().startswith(("{", "[")):
        found = events(body)
    else:
        whole = json.loads(body)
        found = whole if isinstance(whole, list) else [whole]
    return [document for document in found if isinstance(document, dict)]


def raw_usage(case: Case) -> tuple[Json | None, str | None]:
    """The provider's usage object, the last one where several came, and the service tier."""
    usage: Json = {}
    tier: str | None = None
    for document in documents(case):
        inner = document.get("response") or document.get("message") or document
        inner = inner if isinstance(inner, dict) else {}
        for holder in (inner, document):
            found = holder.get("usage") or holder.get("usageMetadata")
            if isinstance(found, dict):
                # A messages stream tells the input first and the output last.
                before = usage if case.endpoint == "messages" else {}
                usage = {**before, **{key: value for key, value in found.items() if value is not None}}
            if isinstance(holder.get("service_tier"), str):
                tier = holder["service_tier"]
    if case.endpoint == "messages" and isinstance(usage.get("service_tier"), str):
        tier = usage["service_tier"]
    return (usage or None), tier


def told(raw: Json) -> float | None:
    """What the provider says that the call cost."""
    cost = raw.get("cost")
    if isinstance(cost, dict):
        cost = cost.get("total_cost")
    if cost is None and "cost_in_usd_ticks" in raw:
        cost = raw["cost_in_usd_ticks"] / 1e10
    return cost


def searches(case: Case) -> list[Json]:
    """Items of a responses answer that say that the provider searched."""
    output: list[Any] = []
    for document in documents(case):
        inner = document.get("response") or document
        output = inner.get("output") or output
    return [item for item in output if isinstance(item, dict) and item.get("type") == "web_search_call"]


def grounding(case: Case) -> list[Json]:
    """What Gemini says of its searches."""
    candidates = [one for document in documents(case) for one in document.get("candidates") or ()]
    return [one["groundingMetadata"] for one in candidates if one.get("groundingMetadata")]


@dataclass
class Asked:
    """What LiteLLM is asked to price."""

    endpoint: str
    provider: str
    model: str
    raw: Json
    tier: str | None
    searches: list[Json]
    grounding: list[Json]

    @classmethod
    def of(cls, case: Case) -> Asked | None:
        raw, tier = raw_usage(case)
        if raw is None:
            return None
        provider = "openrouter" if "openrouter.ai" in case.interaction.url else provider_of(case)
        return cls(
            case.endpoint, provider, wire_model(case), raw, tier,
            searches(case) if case.endpoint == "responses" else [],
            grounding(case) if "promptTokenCount" in raw else [],
        )  # fmt: skip


class LiteLLM:
    """What LiteLLM makes of a usage, and what it says that it costs."""

    def __init__(self) -> None:
        import litellm  # noqa: TID251  the comparison is with LiteLLM itself

        litellm.suppress_debug_info = True
        self.litellm = litellm

    def usage(self, asked: Asked) -> Any:
        if asked.endpoint == "chat/completions":
            return self.litellm.Usage(**asked.raw)
        if asked.endpoint == "responses":
            from litellm.responses.utils import ResponseAPILoggingUtils  # noqa: TID251  as above

            return ResponseAPILoggingUtils._transform_response_api_usage_to_chat_usage(asked.raw)
        if asked.endpoint == "messages":
            return self.litellm.AnthropicConfig().calculate_usage(
                usage_object=asked.raw, reasoning_content=None
            )
        usage = self.litellm.VertexGeminiConfig._calculate_usage({"usageMetadata": asked.raw})
        if asked.grounding:
            self.litellm.VertexGeminiConfig._set_grounding_usage_counters(usage, asked.grounding)
        return usage

    def response(self, asked: Asked) -> Any:
        if asked.searches:
            from litellm.types.llms.openai import ResponsesAPIResponse  # noqa: TID251  as above

            return ResponsesAPIResponse.model_construct(
                model=asked.model, output=asked.searches, usage=self.usage(asked)
            )
        response = self.litellm.ModelResponse(model=asked.model, usage=self.usage(asked))
        if asked.provider == "openrouter" and "cost" in asked.raw:
            # Its own reader of OpenRouter's answers puts the cost that stands in them here.
            said = {"llm_provider-x-litellm-response-cost": float(asked.raw["cost"])}
            response._hidden_params["additional_headers"] = said
        return response

    def cost(self, asked: Asked, when: float) -> float | None:
        from litellm._internal_context import pinned_billing_time  # noqa: TID251  as above

        try:
            # Some providers charge less at some hours: those of the moment in which the engine priced.
            with pinned_billing_time(datetime.fromtimestamp(when, timezone.utc)):
                priced = self.litellm.cost_calculator.response_cost_calculator(
                    response_object=self.response(asked),
                    model=asked.model,
                    custom_llm_provider=asked.provider,
                    call_type="acompletion",
                    optional_params={},
                    service_tier=asked.tier,
                )
            return None if priced is None else float(priced)
        except Exception:  # noqa: BLE001  LiteLLM raises bare exceptions where it knows no price
            return None

    def told_all(self, asked: Asked, when: float) -> tuple[list[str], float | None]:
        """In which known ways LiteLLM's reading is not ours, and what it says of ours."""
        kinds: list[str] = []
        asked = deepcopy(asked)
        raw, apart = asked.raw, 0.0
        if asked.grounding:
            whole, asked.grounding = self.cost(asked, when), []
            kinds += ["grounded"] if whole != self.cost(asked, when) else []
        if raw.get("num_cached_tokens") and not raw.get("prompt_tokens_details"):
            kinds.append("cached")
            raw["prompt_tokens_details"] = {"cached_tokens": raw["num_cached_tokens"]}
        if "promptTokenCount" in raw:
            apart += self._gemini(asked, kinds)
        iterations = raw.get("iterations") or []
        if advised := [one for one in iterations if "model" in one]:
            kinds.append("advisor")
            raw["iterations"] = [one for one in iterations if "model" not in one]
            for one in advised:
                alone = {key: value for key, value in one.items() if key not in ("model", "type")}
                by = Asked("messages", asked.provider, one["model"], alone, asked.tier, [], [])
                apart += self.cost(by, when) or math.nan
        cost = self.cost(asked, when) if kinds else None
        return kinds, None if cost is None else cost + apart

    def _gemini(self, asked: Asked, kinds: list[str]) -> float:
        """The input as we count it, where LiteLLM reads it; dollars for what it has no field for."""
        raw, listed = asked.raw, asked.raw.get("promptTokensDetails") or []
        if tools := raw.pop("toolUsePromptTokenCount", 0):
            kinds.append("tools")
            raw["promptTokenCount"] += tools
        missing = raw["promptTokenCount"] - sum(one.get("tokenCount", 0) for one in listed)
        if listed and missing:
            if missing != tools:
                kinds.append("details")
            listed.append({"modality": "TEXT", "tokenCount": missing})
            texts = [one for one in listed if one.get("modality") == "TEXT"]
            text = {"modality": "TEXT", "tokenCount": sum(one.get("tokenCount", 0) for one in texts)}
            raw["promptTokensDetails"] = [*(one for one in listed if one not in texts), text]
        cached = raw.get("cacheTokensDetails") or []
        sound = sum(one["tokenCount"] for one in cached if one.get("modality") == "AUDIO")
        if not sound:
            return 0.0
        kinds.append("cached sound")
        prices = self.litellm.model_cost[f"gemini/{asked.model}"]
        return sound * (prices["cache_read_input_audio_token_cost"] - prices["cache_read_input_token_cost"])


def kind_of(mine: float | None, theirs: float | None) -> str:
    if mine is None and theirs is None:
        return "unknown to both"
    if mine is not None and theirs is not None and math.isclose(mine, theirs, rel_tol=1e-9, abs_tol=1e-15):
        return "equal"
    if mine is None and theirs == 0:
        return "unpriced"
    return "different"


@dataclass
class Judged:
    """How the costs of replies compare with LiteLLM's."""

    kinds: Counter[str] = field(default_factory=Counter)
    unexplained: list[str] = field(default_factory=list)

    @property
    def alike(self) -> int:
        return sum(self.kinds[kind] for kind in ALIKE)

    def __str__(self) -> str:
        total = self.kinds.total()
        share = f"{100 * self.alike / max(total, 1):.2f}%"
        apart = {kind: count for kind, count in self.kinds.most_common() if kind not in ALIKE}
        counts = "; ".join(f"{kind} {count}" for kind, count in apart.items()) or "none"
        lines = [
            f"cost natively: priced as LiteLLM prices it {self.alike} of {total} ({share}); else: {counts}"
        ]
        reasons = dict.fromkeys(one for kind in apart for one in kind.split(" + "))
        return "\n".join([*lines, *(f"  {one}: {EXPLAINED.get(one, 'NOT EXPLAINED')}" for one in reasons)])


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without LiteLLM's log, its warnings, and what it would fetch or read while it is imported."""
    alone = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_RUST": "0"}
    before = logging.root.manager.disable
    with patch.dict(os.environ, alone), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)


def judged(costs: Iterable[Cost]) -> Judged:
    """Each cost that the native engine named, beside LiteLLM's of the same recorded answer."""
    found = Judged()
    with quiet():
        litellm = LiteLLM()
        for case, mine, when in costs:
            asked = Asked.of(case)
            theirs = None if asked is None else litellm.cost(asked, when)
            kind = kind_of(mine, theirs)
            if kind == "different" and asked is not None and mine is not None:
                kinds, of_ours = litellm.told_all(asked, when)
                if kind_of(mine, told(asked.raw)) == "equal":
                    kind = "told"
                elif kind_of(mine, of_ours) == "equal":
                    kind = " + ".join(kinds)
            found.kinds[kind] += 1
            if kind == "different":
                raw = json.dumps(asked and asked.raw)[:600]
                found.unexplained.append(f"{case.name} native {mine} LiteLLM {theirs}: {raw}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="files of the corpus whose path holds this")
    parser.add_argument("--show", type=int, default=30)
    given = parser.parse_args()
    report = asyncio.run(run(list(cases(only=given.only)), engines=["native"]))
    found = judged(report.costs)
    print("\n".join([*found.unexplained[: given.show], str(found)]))
    return 1 if found.unexplained else 0


if __name__ == "__main__":
    sys.exit(main())
