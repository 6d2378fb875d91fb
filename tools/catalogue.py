"""The catalogue that is compiled in, read from the installed LiteLLM into rust/client/data.

    python tools/catalogue.py --check          the snapshot is what the installed LiteLLM gives
    python tools/catalogue.py --write          writes it anew
    python tools/catalogue.py --write --to DIR writes it elsewhere

Both files, models.tsv and providers.json, are sorted, one model or one provider a line, so that Rust finds a
line by bisection and parses no other. rust/client/data/README.md says how LiteLLM's fields are spelled there.

What LiteLLM knows of a provider that speaks OpenAI's chat completions stands in its code, not in a table:
which variables it reads and which base URL it falls back to is found by asking its resolver and listening.
"""

from __future__ import annotations

import argparse
import contextlib
import difflib
import importlib.metadata
import json
import logging
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

if "__file__" in globals():
    ROOT = Path(__file__).resolve().parent.parent
    DATA = ROOT / "rust/client/data"
    sys.path.insert(0, str(ROOT / "python"))
else:  # `omni catalogue` has it on standard input, for the package that is installed
    DATA = Path()

from omni_bridge._endpoints import OWN_HOSTS, family

Json = dict[str, Any]

# LiteLLM's `responses_api_bridge_check`: which models of OpenAI refuse function tools in chat completions
# while they reason. tests/test_catalogue.py asks it about every model, and compares.
REASONING_TOOLS: Json = {"series": "gpt-", "since": [5, 4], "before": 7, "not_models": ["*gpt-5*search*"]}

# The providers that speak one of our protocols and that LiteLLM does not list as compatible with OpenAI,
# and what its resolver does not tell of those that it lists. `None` takes a listed one out: it needs more
# than a base and a key.
BY_HAND: dict[str, Json | None] = {
    # LiteLLM asks it by a class of its own, on the same wire.
    "mistral": {"protocol": "openai_chat"},
    "openai": {
        "protocol": "openai_chat",
        "also": ["openai_responses"],
        "base_url": "https://api.openai.com/v1",
        "base_env": ["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        "key_env": ["OPENAI_API_KEY"],
        # As OpenAI's own client, with which LiteLLM calls: who is billed.
        "env_headers": {
            "openai-organization": ["OPENAI_ORGANIZATION", "OPENAI_ORG_ID"],
            "openai-project": ["OPENAI_PROJECT_ID"],
        },
        # Another server may have a model of this name, and no such rule.
        "reasoning_tools": REASONING_TOOLS | {"hosts": ["api.openai.com"]},
    },
    "anthropic": {
        "protocol": "anthropic",
        "base_url": "https://api.anthropic.com",
        "base_env": ["ANTHROPIC_API_BASE", "ANTHROPIC_BASE_URL"],
        "key_env": ["ANTHROPIC_API_KEY"],
        "auth": "x-api-key",
        # ANTHROPIC_AUTH_TOKEN, which travels otherwise.
        "other_credentials": True,
        # They answer text completions.
        "not_models": ["claude-2", "claude-2.*", "claude-instant-1*"],
        # Ids without a provider that are its own although no list has them yet.
        "bare": ["claude-*-*"],
    },
    "gemini": {
        "protocol": "gemini",
        "base_url": "https://generativelanguage.googleapis.com/v1beta",
        "base_env": ["GEMINI_API_BASE"],
        "base_path": "/v1beta",
        "key_env": ["GOOGLE_API_KEY", "GEMINI_API_KEY"],
        "auth": "x-goog-api-key",
    },
    # A token is needed for each call (api_key): without one LiteLLM finds Google's credentials.
    "vertex_ai": {
        "protocol": "gemini",
        "base_url": "https://{VERTEXAI_LOCATION}-aiplatform.googleapis.com/v1/projects/{VERTEXAI_PROJECT}"
        "/locations/{VERTEXAI_LOCATION}/publishers/google",
        "base_env": ["VERTEXAI_API_BASE", "VERTEX_API_BASE"],
        "models": ["gemini-*"],
        "other_credentials": True,
    },
    "azure": {
        "protocol": "openai_chat",
        "also": ["openai_responses"],
        "base_env": ["AZURE_API_BASE"],
        "base_path": "/openai/v1",
        "key_env": ["AZURE_OPENAI_API_KEY", "AZURE_API_KEY"],
        "auth": "api-key",
        "other_credentials": True,
        # A dated version of the API has other paths.
        "unless_env": ["AZURE_API_VERSION"],
        "reasoning_tools": REASONING_TOOLS,
    },
    "openrouter": {
        "protocol": "openai_chat",
        "base_url": "https://openrouter.ai/api/v1",
        "base_env": ["OPENROUTER_API_BASE"],
        "key_env": ["OPENROUTER_API_KEY", "OR_API_KEY"],
    },
    "huggingface": {
        "protocol": "openai_chat",
        "base_url": "https://router.huggingface.co/v1",
        "base_env": [],
        "key_env": ["HF_TOKEN", "HUGGINGFACE_API_KEY"],
        # A dedicated endpoint has paths of its own.
        "unless_env": ["HF_API_BASE", "HUGGINGFACE_API_BASE"],
        # "huggingface/<who serves>/<org>/<model>": LiteLLM asks the hub what that provider calls it.
        "not_models": ["*/*/*"],
    },
    "ollama": {
        "protocol": "openai_chat",
        "base_url": "http://localhost:11434/v1",
        "base_env": ["OLLAMA_API_BASE"],
        "base_path": "/v1",
        "key_env": ["OLLAMA_API_KEY"],
        "local": True,
    },
    "lm_studio": {"base_url": "http://localhost:1234/v1", "local": True},
    "hosted_vllm": {"base_url": "http://localhost:8000/v1", "local": True, "also": ["openai_responses"]},
    "llamafile": {"local": True},
    "lemonade": {"protocol": "openai_chat", "local": True},
    "docker_model_runner": {"base_path": "/v1", "local": True},
    "xinference": {
        "base_url": "http://127.0.0.1:9997/v1",
        "base_env": ["XINFERENCE_API_BASE"],
        "key_env": ["XINFERENCE_API_KEY"],
        "local": True,
    },
    "cloudflare": {
        "protocol": "openai_chat",
        "base_url": "https://api.cloudflare.com/client/v4/accounts/{CLOUDFLARE_ACCOUNT_ID}/ai/v1",
        "base_env": [],
        "key_env": ["CLOUDFLARE_API_KEY"],
        "unless_env": ["CLOUDFLARE_API_BASE"],
    },
    "databricks": {
        "protocol": "openai_chat",
        "base_env": ["DATABRICKS_API_BASE"],
        "key_env": ["DATABRICKS_API_KEY"],
        "unless_env": ["DATABRICKS_CLIENT_ID"],
        "other_credentials": True,
    },
    "minimax": {
        "protocol": "openai_chat",
        "base_url": "https://api.minimax.io/v1",
        "base_env": ["MINIMAX_API_BASE"],
        "key_env": ["MINIMAX_API_KEY"],
    },
    "cometapi": {
        "base_url": "https://api.cometapi.com/v1",
        "base_env": ["COMETAPI_BASE_URL", "COMETAPI_API_BASE"],
        "key_env": ["COMETAPI_KEY", "COMETAPI_API_KEY"],
    },
    "ovhcloud": {
        "protocol": "openai_chat",
        "base_url": "https://oai.endpoints.kepler.ai.cloud.ovh.net/v1",
        "base_env": ["OVHCLOUD_API_BASE"],
        "key_env": ["OVHCLOUD_API_KEY"],
    },
    "compactifai": {
        "protocol": "openai_chat",
        "base_url": "https://api.compactif.ai/v1",
        "base_env": ["COMPACTIFAI_API_BASE"],
        "key_env": ["COMPACTIFAI_API_KEY"],
    },
    "amazon_nova": {
        "protocol": "openai_chat",
        "base_url": "https://api.nova.amazon.com/v1",
        "base_env": ["AMAZON_NOVA_API_BASE"],
        "key_env": ["AMAZON_NOVA_API_KEY"],
    },
    "heroku": {"protocol": "openai_chat", "base_path": "/v1"},
    "nadir": {"protocol": "openai_chat"},
    "litellm_proxy": {"also": ["openai_responses"]},
    "custom_openai": {
        "protocol": "openai_chat",
        "base_env": [],
        "key_env": ["OPENAI_API_KEY"],
    },
    "openai_like": {
        "protocol": "openai_chat",
        "base_env": ["OPENAI_LIKE_API_BASE"],
        "key_env": ["OPENAI_LIKE_API_KEY"],
    },
    "xai": {"also": ["openai_responses"]},
    # Models that a customer has deployed stand at addresses of their own, and are named by eight letters.
    "baseten": {"base_env": [], "not_models": ["????????"]},
    # Its routers stand at another path.
    "fireworks_ai": {
        "model_prefix": "accounts/fireworks/models/",
        "not_models": ["routers/*", "models/*", "*-fast", "firerouter*", "FW-*"],
    },
    # They need more than a base and a key: a login, paths by model, an address by customer.
    "azure_ai": None,
    "chatgpt": None,
    "github_copilot": None,
    "ragflow": None,
    "clarifai": None,
    "ai21": None,
}

# Other names of a provider; the rest of the id stays.
SAME_AS = {"ollama_chat": "ollama", "vertex_ai_beta": "vertex_ai"}

MODES = {"chat": "c", "responses": "r", "completion": "t"}
"""What a model of this list answers; LiteLLM knows others (images, embeddings), which no chat asks."""

ABILITIES = {
    "supports_function_calling": "t",
    "supports_tool_choice": "c",
    "supports_parallel_function_calling": "p",
    "supports_vision": "v",
    "supports_reasoning": "r",
    "supports_response_schema": "j",
    "supports_prompt_caching": "k",
    "supports_pdf_input": "d",
    "supports_audio_input": "a",
    "supports_audio_output": "s",
    "supports_video_input": "m",
    "supports_web_search": "w",
    "supports_computer_use": "u",
    "supports_assistant_prefill": "f",
    "supports_system_messages": "y",
    "supports_url_context": "l",
}

PRICES = {
    "input_cost_per_token": "i",
    "output_cost_per_token": "o",
    "cache_read_input_token_cost": "r",
    "cache_creation_input_token_cost": "w",
    "cache_creation_input_token_cost_above_1hr": "h",
    "output_cost_per_reasoning_token": "g",
    "input_cost_per_audio_token": "ia",
    "output_cost_per_audio_token": "oa",
    "cache_read_input_audio_token_cost": "ra",
    "input_cost_per_image_token": "ii",
    "output_cost_per_image_token": "oi",
    "input_cost_per_request": "q",
    "citation_cost_per_token": "n",
}
_PRICE = re.compile(
    rf"({'|'.join(sorted(PRICES, key=len, reverse=True))})"
    r"(?:_above_(\d+)k_tokens)?(?:_(priority|flex|batches|balanced|ultrafast|decisions))?"
)
TIERS = {"priority": "p", "flex": "f", "batches": "b", "balanced": "l", "ultrafast": "u", "decisions": "d"}
SEARCH = {
    "search_context_size_low": "sl",
    "search_context_size_medium": "sm",
    "search_context_size_high": "sh",
}
CLOCKS = {None: 0, "UTC": 0, "Asia/Shanghai": 8 * 60}
"""Minutes from UTC to the calendar by which a price's days are named: zones that keep no summer time."""


class Listening(dict[str, str]):
    """An environment in which nothing is set, and which keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []

    def get(self, name: str, default: Any = None) -> Any:
        self.asked.append(name)
        return default

    def __getitem__(self, name: str) -> str:
        self.asked.append(name)
        raise KeyError(name)

    def __contains__(self, name: object) -> bool:
        self.asked.append(str(name))
        return False


@contextlib.contextmanager
def listening() -> Iterator[Listening]:
    real, os.environ = os.environ, Listening()  # type: ignore[assignment]  # LiteLLM reads no more of it
    try:
        yield os.environ  # type: ignore[misc]
    finally:
        os.environ = real  # noqa: B003  the very object comes back: nothing was changed in it


def load() -> Any:
    """LiteLLM, with its price map local, and silent. Of the package only `_litellm.py` may import it."""
    os.environ.update(LITELLM_LOCAL_MODEL_COST_MAP="True", LITELLM_MODE="PRODUCTION", LITELLM_RUST="0")
    import litellm  # noqa: PLC0415, TID251  it takes two seconds, and --help needs none; a tool may import it

    logging.disable(logging.CRITICAL)
    litellm.suppress_debug_info = True
    return litellm


def logs_in(litellm: Any) -> set[str]:
    """The providers whose mere look-up in LiteLLM begins a login over the network."""
    return set(litellm.constants.PROVIDERS_THAT_AUTHENTICATE_ON_PROVIDER_INFO)


def ask_resolver(litellm: Any, name: str) -> Json:
    """What LiteLLM falls back to for a provider, and the variables that it reads on the way."""
    with listening() as environment:
        try:
            base = litellm.get_llm_provider(f"{name}/some-model")[3]
        except litellm.exceptions.BadRequestError:
            base = None
    asked = [variable for variable in dict.fromkeys(environment.asked) if variable.isupper()]
    return {
        "base_url": (base or "").rstrip("/"),
        "base_env": [v for v in asked if re.search(r"_(BASE|URL|ENDPOINT|HOST)$", v)],
        "key_env": [v for v in asked if re.search(r"(KEY|TOKEN)$", v)],
    }


def providers(litellm: Any) -> dict[str, Json]:
    from litellm.llms.openai_like.json_loader import (  # noqa: PLC0415, TID251  as in load
        JSONProviderRegistry,
    )

    declared = json.loads(
        (Path(litellm.__file__).parent / "llms/openai_like/providers.json").read_text(encoding="utf-8")
    )
    listed = {getattr(name, "value", name) for name in litellm.provider_list}
    names = sorted(listed | set(JSONProviderRegistry.list_providers()) | set(SAME_AS))
    compatible = set(litellm.openai_compatible_providers) | set(declared)
    table: dict[str, Json] = {}
    for name in names:
        if name in SAME_AS:
            table[name] = {"same_as": SAME_AS[name]}
            continue
        by_hand = BY_HAND.get(name, {})
        if (
            by_hand is None
            or (name not in compatible and "protocol" not in by_hand)
            or name in logs_in(litellm)
        ):
            table[name] = {}
            continue
        entry: Json = {"protocol": "openai_chat"}
        entry |= ask_resolver(litellm, name)
        settings = declared.get(name, {})
        if "/v1/responses" in settings.get("supported_endpoints", ()):
            entry["also"] = ["openai_responses"]
        headers = settings.get("headers", {})
        keyed = [header for header, value in headers.items() if value == "{api_key}"]
        if keyed:
            entry["auth"] = keyed[0]
        plain = {header: value for header, value in headers.items() if "{" not in value}
        if plain:
            entry["headers"] = plain
        entry |= by_hand
        if "reasoning_tools" in entry:
            entry["reasoning_tools"] = entry["reasoning_tools"] | reasons_always(litellm, name)
        hosts = OWN_HOSTS.get(family(name))
        if hosts:
            entry["hosts"] = list(hosts)
        table[name] = {key: value for key, value in entry.items() if value not in ("", [], False)}
    unknown = sorted(set(BY_HAND) - set(table))
    if unknown and "__file__" in globals():
        raise SystemExit(f"catalogue: LiteLLM no longer knows {unknown}: take them out of BY_HAND")
    return table


def reasons_always(litellm: Any, provider: str) -> Json:
    """Which models of `REASONING_TOOLS` reason also where they are asked not to, as the provider names them.

    OpenAI's do as they are asked unless LiteLLM lists that they refuse it, Azure's only if it lists that they
    take it.
    """
    refuses = litellm.main._chat_gate_refuses_reasoning_effort_none
    names = {
        key.removeprefix(f"{provider}/")
        for key, info in litellm.model_cost.items()
        # Deployments at Azure are often called as OpenAI calls the model.
        if info.get("litellm_provider") in (provider, "openai")
        and info.get("mode") == "chat"
        and newer(key.rsplit("/", 1)[-1])
    }
    if provider == "azure":
        return {"always": ["*"], "at_will": sorted(name for name in names if not refuses(name, provider))}
    return {"always": sorted(name for name in names if refuses(name, provider))}


def newer(model: str) -> bool:
    """Whether a model is one of those that `REASONING_TOOLS` begins with, or a newer one."""
    match = re.match(r"gpt-(\d+)(?:\.(\d+))?(?=[.-]|$)", model)
    return bool(match) and (int(match[1]), int(match[2] or 0)) >= tuple(REASONING_TOOLS["since"])


def number(value: Any) -> str:
    """The shortest text that reads back as the same float."""
    text = repr(float(value))
    text = text.removesuffix(".0")
    return re.sub(r"e-0?", "e-", text)


def prices(info: Json) -> list[str]:
    found: list[tuple[str, str]] = []
    if info["litellm_provider"] == "fireworks_ai":
        from litellm.llms.fireworks_ai.cache_pricing import (  # noqa: PLC0415, TID251  as in load
            with_default_cache_read_rate,
        )

        given: Any = info  # LiteLLM types it, we do not
        filled: Any = with_default_cache_read_rate(given)
        info = filled
    for field, value in info.items():
        match = _PRICE.fullmatch(field)
        if match and isinstance(value, (int, float)):
            base, above, tier = match.groups()
            spelled = PRICES[base] + (f">{above}" if above else "") + (f"@{TIERS[tier]}" if tier else "")
            found.append((spelled, number(value)))
    for size, value in (info.get("search_context_cost_per_query") or {}).items():
        if size in SEARCH:
            found.append((SEARCH[size], number(value)))
    return [f"{spelled}={value}" for spelled, value in sorted(found)]


def rates(info: Json) -> Json:
    """Base prices of a range or of some hours."""
    return {
        PRICES[field]: float(info[field]) for field in PRICES if isinstance(info.get(field), (int, float))
    }


def minutes(clock: str) -> int:
    hours, rest = clock.strip().split(":")
    return int(hours) * 60 + int(rest)


def off_peak(given: Json) -> Json:
    windows = list(given.get("windows") or [])
    if given.get("hours_utc"):
        windows.append({"hours_utc": given["hours_utc"]})
    hours: list[list[int]] = []
    for window in windows:
        spans = window["hours_utc"]
        days = sum(1 << (day - 1) for day in window.get("weekdays") or range(1, 8))
        for span in [spans] if isinstance(spans, str) else spans:
            start, end = span.split("-")
            hours.append([minutes(start), minutes(end), days])
    return {"rates": rates(given), "hours": hours, "clock": CLOCKS[given.get("weekday_timezone")]}


def rare(info: Json) -> Json:
    """What few models have: prices by ranges and hours, factors."""
    found: Json = {}
    tiers = [one for one in info.get("tiered_pricing") or [] if "input_cost_per_token" in one]
    if tiers:
        found["tiers"] = [[int(one["range"][0]), int(one["range"][1]), rates(one)] for one in tiers]
    if info.get("off_peak_pricing"):
        found["off_peak"] = off_peak(info["off_peak_pricing"])
    factors = {
        name: float(factor)
        for name, factor in (info.get("provider_specific_entry") or {}).items()
        if isinstance(factor, (int, float)) and name in {"us", "eu", "fast"}
    }
    if factors:
        found["factors"] = factors
    if info.get("web_search_billing_unit") == "per_query":
        found["per_query"] = True
    if info.get("deprecation_date"):
        found["until"] = info["deprecation_date"]
    return found


def abilities(info: Json) -> str:
    letters = [
        letter if info[field] else f"-{letter}"
        for field, letter in ABILITIES.items()
        if isinstance(info.get(field), bool)
    ]
    if "image" in (info.get("supported_output_modalities") or ()):
        letters.append("i")
    return "".join(letters)


def route(litellm: Any, key: str, label: str) -> str:
    """Which provider LiteLLM takes a model id for; "" if it knows none."""
    head, slash, _ = key.partition("/")
    if label in logs_in(litellm) or head in logs_in(litellm):
        return label if slash else ""
    try:
        with listening():
            return str(litellm.get_llm_provider(key)[1])
    except litellm.exceptions.BadRequestError:
        return ""


def models(litellm: Any) -> list[str]:
    lines: list[tuple[bytes, str]] = []
    for key, info in litellm.model_cost.items():
        mode = MODES.get(info.get("mode") or "chat")
        label = info.get("litellm_provider")
        if info.get("mode") == "image_generation" and "gemini-" in key and "input_cost_per_token" in info:
            mode = "c"  # they draw in a chat
        if mode is None or not isinstance(label, str) or key == "sample_spec":
            continue
        provider = route(litellm, key, label)
        limits = [
            info.get(name) or info.get("max_tokens") for name in ("max_input_tokens", "max_output_tokens")
        ]
        extra = rare(info)
        columns = [
            key,
            provider,
            "" if label == provider else label,
            mode,
            *(str(int(limit)) if isinstance(limit, (int, float)) else "" for limit in limits),
            abilities(info),
            " ".join(prices(info)),
            json.dumps(extra, separators=(",", ":"), sort_keys=True) if extra else "",
        ]
        if any(character in column for column in columns for character in "\t\n"):
            raise SystemExit(f"catalogue: a tab or an end of line in what LiteLLM says of {key!r}")
        lines.append((key.encode(), "\t".join(columns).rstrip("\t")))
    return [line for _, line in sorted(lines)]


def render() -> dict[str, str]:
    litellm = load()
    entries = [
        f"{json.dumps(name)}:{json.dumps(entry, separators=(',', ':'), ensure_ascii=False)}"
        for name, entry in sorted(providers(litellm).items(), key=lambda pair: pair[0].encode())
    ]
    return {
        "models.tsv": "\n".join(models(litellm)) + "\n",
        "providers.json": "{\n" + ",\n".join(entries) + "\n}\n",
        "version.txt": importlib.metadata.version("litellm") + "\n",
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--write", action="store_true")
    parser.add_argument("--to", type=Path, default=DATA, help="the folder (default: %(default)s)")
    options = parser.parse_args()
    folder: Path = options.to
    code = 0
    for name, text in render().items():
        path = folder / name
        if options.write:
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            continue
        have = path.read_text(encoding="utf-8") if path.exists() else ""
        if have != text:
            code = 1
            changed = difflib.unified_diff(
                have.splitlines(),
                text.splitlines(),
                "the snapshot",
                "the installed LiteLLM",
                n=0,
                lineterm="",
            )
            for line in list(changed)[:20]:
                print(line[:200])
            print(f"{name} is not what the installed LiteLLM gives: python tools/catalogue.py --write")
    return code


if __name__ == "__main__":
    sys.exit(main())
