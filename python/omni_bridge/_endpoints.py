"""Where a credential may go. Pure: a request's address and headers in, a verdict out.

A credential that the caller did not give for this call (LiteLLM took it from the environment, a credentials
file or a
cloud's metadata server) may go to the provider's own hosts, to the base URL that the environment itself sets
for that
provider, and to hosts that the configuration names. Everywhere else the call needs its own ``api_key``.

The verdict is made on the request as it would leave, so it holds however LiteLLM came to the address:
``api_base``, a
model id that is an address, a redirect, an image.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OWN_HOSTS: dict[str, tuple[str, ...]] = {
    "ai21": ("api.ai21.com",),
    "aiml": ("api.aimlapi.com",),
    "aiohttp_openai": ("api.openai.com",),
    "aleph_alpha": ("api.aleph-alpha.com",),
    "amazon_nova": ("api.nova.amazon.com",),
    "anthropic": ("api.anthropic.com",),
    "apertis": ("api.stima.tech",),
    "assemblyai": ("llm-gateway.assemblyai.com", "api.assemblyai.com"),
    "azure": (
        ".openai.azure.com",
        ".cognitiveservices.azure.com",
        ".services.ai.azure.com",
        "login.microsoftonline.com",
    ),
    "azure_ai": (
        ".services.ai.azure.com",
        ".models.ai.azure.com",
        ".openai.azure.com",
        ".inference.ai.azure.com",
    ),
    "azure_text": (".openai.azure.com",),
    "baseten": ("inference.baseten.co", ".api.baseten.co"),
    "bedrock": (".amazonaws.com", ".amazonaws.com.cn", ".api.aws"),
    "bytez": ("api.bytez.com",),
    "cerebras": ("api.cerebras.ai",),
    "charity_engine": ("api.charityengine.services",),
    "chatgpt": ("chatgpt.com", "auth.openai.com"),
    "chutes": ("llm.chutes.ai",),
    "clarifai": ("api.clarifai.com",),
    "cloudflare": ("api.cloudflare.com",),
    "codestral": ("codestral.mistral.ai",),
    "cognition": ("api.cognition.ai",),
    "cohere": ("api.cohere.com", "api.cohere.ai"),
    "cometapi": ("api.cometapi.com",),
    "compactifai": ("api.compactif.ai",),
    "cortecs": ("api.cortecs.ai",),
    "custom_openai": ("api.openai.com",),
    "darkbloom": ("api.darkbloom.dev",),
    "dashscope": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
    "databricks": (".cloud.databricks.com", ".azuredatabricks.net", ".gcp.databricks.com"),
    "datarobot": ("app.datarobot.com",),
    "deepinfra": ("api.deepinfra.com",),
    "deepseek": ("api.deepseek.com",),
    "edenai": ("api.edenai.run",),
    "empower": ("app.empower.dev",),
    "fal_ai": ("fal.run", "queue.fal.run"),
    "featherless_ai": ("api.featherless.ai",),
    "fireworks_ai": ("api.fireworks.ai",),
    "friendliai": ("api.friendli.ai",),
    "galadriel": ("api.galadriel.com",),
    "gemini": ("generativelanguage.googleapis.com",),
    "gigachat": ("gigachat.devices.sberbank.ru", "ngw.devices.sberbank.ru"),
    "github": ("models.inference.ai.azure.com", "models.github.ai"),
    "github_copilot": ("api.githubcopilot.com", ".githubcopilot.com", "api.github.com", "github.com"),
    "gradient_ai": ("inference.do-ai.run", ".agents.do-ai.run"),
    "groq": ("api.groq.com",),
    "helicone": ("ai-gateway.helicone.ai",),
    "heroku": ("us.inference.heroku.com", "eu.inference.heroku.com"),
    "huggingface": (
        "router.huggingface.co",
        "api-inference.huggingface.co",
        "huggingface.co",
        ".endpoints.huggingface.cloud",
    ),
    "hyperbolic": ("api.hyperbolic.xyz",),
    "inception": ("api.inceptionlabs.ai",),
    "lambda_ai": ("api.lambda.ai",),
    "libertai": ("api.libertai.io",),
    "maritalk": ("chat.maritaca.ai",),
    "meta": ("api.meta.ai",),
    "meta_llama": ("api.llama.com",),
    "minimax": ("api.minimax.io", "api.minimaxi.com"),
    "mistral": ("api.mistral.ai",),
    "modelscope": ("api-inference.modelscope.cn",),
    "moonshot": ("api.moonshot.ai", "api.moonshot.cn"),
    "morph": ("api.morphllm.com",),
    "nadir": ("api.getnadir.com",),
    "nano-gpt": ("nano-gpt.com",),
    "nebius": ("api.studio.nebius.ai", "api.tokenfactory.nebius.com"),
    "neosantara": ("api.neosantara.xyz",),
    "nlp_cloud": ("api.nlpcloud.io",),
    "novita": ("api.novita.ai",),
    "nscale": ("inference.api.nscale.com",),
    "nvidia_nim": ("integrate.api.nvidia.com",),
    "oci": (".oci.oraclecloud.com",),
    "openai": ("api.openai.com", "eu.api.openai.com", "us.api.openai.com"),
    "openrouter": ("openrouter.ai",),
    "ovhcloud": ("oai.endpoints.kepler.ai.cloud.ovh.net",),
    "parasail": ("api.parasail.io",),
    "perplexity": ("api.perplexity.ai",),
    "pinstripes": ("pinstripes.io",),
    "poe": ("api.poe.com",),
    "predibase": ("serving.app.predibase.com",),
    "prism": ("api.prisminference.com",),
    "publicai": ("api.publicai.co",),
    "qwen_ai_platform": ("dashscope.aliyuncs.com",),
    "qwencloud": ("dashscope-intl.aliyuncs.com",),
    "reka": ("api.reka.ai",),
    "replicate": ("api.replicate.com",),
    "sagemaker": (".amazonaws.com", ".amazonaws.com.cn"),
    "sail": ("api.sailresearch.com",),
    "sambanova": ("api.sambanova.ai",),
    "sap": (".hana.ondemand.com",),
    "scaleway": ("api.scaleway.ai",),
    "scx-ai": ("api.scx.ai",),
    "snowflake": (".snowflakecomputing.com",),
    "synthetic": ("api.synthetic.new",),
    "tencent": ("tokenhub-intl.tencentcloudmaas.com",),
    "tensormesh": ("serverless.tensormesh.ai",),
    "text-completion-codestral": ("codestral.mistral.ai",),
    "text-completion-inception": ("api.inceptionlabs.ai",),
    "text-completion-openai": ("api.openai.com",),
    "together_ai": ("api.together.ai", "api.together.xyz"),
    "v0": ("api.v0.dev",),
    "vercel_ai_gateway": ("ai-gateway.vercel.sh",),
    "vertex_ai": (".googleapis.com",),
    "volcengine": (".volces.com",),
    "wandb": ("api.inference.wandb.ai",),
    "watsonx": (".ml.cloud.ibm.com", "iam.cloud.ibm.com"),
    "xai": ("api.x.ai", "us-east-1.api.x.ai", "eu-west-1.api.x.ai"),
    "xiaomi_mimo": ("api.xiaomimimo.com",),
    "zai": ("api.z.ai", "open.bigmodel.cn"),
}
"""A provider's own hosts; a name that begins with a dot stands for every host under it."""

_SAME_AS = {
    "ai21_chat": "ai21",
    "anthropic_text": "anthropic",
    "bedrock_converse": "bedrock",
    "bedrock_mantle": "bedrock",
    "cohere_chat": "cohere",
    "sagemaker_chat": "sagemaker",
    "sagemaker_nova": "sagemaker",
    "vertex_ai_beta": "vertex_ai",
    "watsonx_text": "watsonx",
    "ollama_chat": "ollama",
}

_PREFIXES: dict[str, tuple[str, ...]] = {
    "azure": ("AZURE",),
    "huggingface": ("HF", "HUGGINGFACE"),
    "ollama": ("OLLAMA",),
    "sagemaker": ("AWS", "SAGEMAKER"),
    "bedrock": ("AWS", "BEDROCK"),
    "vertex_ai": ("VERTEX", "VERTEXAI"),
    "watsonx": ("WATSONX", "WX", "WML"),
    "text-completion-openai": ("OPENAI",),
    "custom_openai": ("OPENAI",),
    "aiohttp_openai": ("OPENAI",),
    "lambda_ai": ("LAMBDA",),
    "meta_llama": ("LLAMA",),
    "github_copilot": ("GITHUB_COPILOT",),
    "text-completion-codestral": ("CODESTRAL",),
}
_BASE = re.compile(r"(_BASE|_URL|_ENDPOINT|_HOST)(_V\d)?$")

SENSITIVE = frozenset(
    {
        "authorization",
        "proxy-authorization",
        "x-api-key",
        "api-key",
        "apikey",
        "x-goog-api-key",
        "x-goog-user-project",
        "ocp-apim-subscription-key",
        "x-amz-security-token",
        "x-auth-token",
        "x-auth",
        "x-api-token",
        "x-access-token",
        "x-token",
        "token",
        "x-key",
        "x-subscription-token",
        "zenapikey",
        "copilot-integration-token",
        "cookie",
    }
)
"""Headers whose whole purpose is a credential."""
_SENSITIVE_QUERY = frozenset(
    {"key", "api_key", "apikey", "api-key", "access_token", "token", "subscription-key", "code"}
)
_HARMLESS = frozenset(
    {
        "host",
        "accept",
        "accept-encoding",
        "accept-language",
        "connection",
        "content-length",
        "content-type",
        "user-agent",
        "date",
        "anthropic-version",
        "x-amz-date",
        "x-amz-content-sha256",
        "transfer-encoding",
    }
)
CREDENTIAL_NAME = re.compile(r"KEY|TOKEN|SECRET|PASSW|CREDENTIAL|APIKEY|_AUTH|_PAT$|CERT", re.IGNORECASE)
"""Names of environment variables whose values are credentials."""
_OF_THE_SYSTEM = re.compile(
    r"^(PATH|HOME|PWD|OLDPWD|SHELL|USER|LOGNAME|LANG|LC_.*|TERM.*|HOSTNAME|TMP|TEMP|TMPDIR|EDITOR|PAGER|"
    r"DISPLAY|"
    r"PYTHON.*|VIRTUAL_ENV.*|CARGO.*|RUST.*|MAKE.*|LITELLM_MODE|LITELLM_RUST|LITELLM_LOCAL.*|HF_HUB_.*|"
    r"TRANSFORMERS_.*|"
    r"AIOHTTP_.*|XDG_.*|SSH_.*|LESS.*|_|SHLVL|OMNI_.*)$"
)
_NOTHING = frozenset(
    {"", "none", "null", "undefined", "nokey", "no-key", "fake-api-key", "not-needed", "dummy", "empty"}
)

MIN_LENGTH = 6
"""Shorter values are found in too many places to mean anything."""
PLACEHOLDER = "no-key"
"""What stands in for a key where LiteLLM insists on one and none is needed (a local server)."""


class Environment:
    """What a guard needs to know of the environment's variables, worked out once for each state of them."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.secrets: dict[str, str] = {}
        """Value → name, of every variable that holds a credential."""
        self.others: list[str] = []
        """Values that are no credentials and not the system's own, such as an account's id."""
        self.bases: list[tuple[str, str]] = []
        """(name, value) of every variable that may hold a base URL."""
        for name, value in variables.items():
            if value and _BASE.search(name):
                self.bases.append((name, value))
            if len(value) < MIN_LENGTH or _OF_THE_SYSTEM.match(name):
                continue
            if CREDENTIAL_NAME.search(name) and not value.startswith(("/", "http://", "https://")):
                self.secrets[value] = name
            else:
                self.others.append(value)

    def bases_of(self, provider: str) -> list[str]:
        """The base URLs that the environment sets for a provider."""
        provider = _SAME_AS.get(provider, provider)
        plain = re.sub(r"[^A-Z0-9]", "_", provider.upper())
        prefixes = tuple(
            f"{prefix}_" for prefix in (*_PREFIXES.get(provider, ()), plain, plain.replace("_", ""))
        )
        return [value for name, value in self.bases if name.startswith(prefixes)]


class _Last:
    """The last state of the environment that was worked out."""

    raw: Any = None
    environment = Environment({})


def current_environment() -> Environment:
    """The process's environment as it is now."""
    raw: Any = getattr(os.environ, "_data", None)  # comparing the raw table costs 2 µs, reading it all 200
    if raw is None:
        return Environment(os.environ)
    if _Last.raw != raw:
        _Last.raw, _Last.environment = raw.copy(), Environment(os.environ)
    return _Last.environment


def _host_matches(host: str, own: Iterable[str]) -> bool:
    return any(host == name or (name.startswith(".") and host.endswith(name)) for name in own)


def _address(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url if "://" in url else "//" + url)
    port = parts.port if parts.port is not None else {"http": 80, "https": 443}.get(parts.scheme)
    return (parts.hostname or "").lower().rstrip("."), port


def _named(host: str, port: int | None, entries: Iterable[str]) -> bool:
    for entry in entries:
        try:
            named, named_port = _address(entry)
        except ValueError:
            continue
        explicit = "://" in entry or bool(re.search(r":\d+$", entry))
        matches = host == named or (named.startswith(".") and host.endswith(named))
        if named and matches and (not explicit or named_port == port):
            return True
    return False


class Guard:
    """The rule for one call."""

    def __init__(
        self,
        provider: str,
        request: Mapping[str, Any],
        config: Mapping[str, Any],
        environment: Environment,
    ) -> None:
        self.provider = provider
        self._own = OWN_HOSTS.get(_SAME_AS.get(provider, provider), ())
        self._allowed = [entry for entry in config.get("allowed_hosts") or () if isinstance(entry, str)]
        self._environment = environment
        headers: dict[str, Any] = request.get("headers") or {}
        self._given = {
            value for value in (*headers.values(), request.get("api_key")) if isinstance(value, str) and value
        }
        self._given_names = {name.lower() for name in headers}

    def trusted(self, url: str) -> bool:
        """Whether credentials of the environment may go to this address."""
        host, port = _address(url)
        if _host_matches(host, self._own) and url.startswith("https:"):
            return True
        if _named(host, port, self._allowed):
            return True
        return any(_address(base) == (host, port) for base in self._environment.bases_of(self.provider))

    def _from_the_call(self, value: str) -> bool:
        # Whole values only: a part of one could be chosen to stand in anybody's key.
        return value in self._given or value.partition(" ")[2].strip() in self._given

    def verdict(
        self, url: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> tuple[str | None, list[str]]:
        """``(what is wrong, headers to leave out)`` for one outgoing request; wrong is None if it may go."""
        if self.trusted(url):
            return None, []
        drop: list[str] = []
        secrets = self._environment.secrets
        for spelled, value in headers:
            name = spelled.lower()
            if name in _HARMLESS or name.startswith("x-stainless-"):
                continue
            if name in self._given_names or self._from_the_call(value):
                continue
            if name in SENSITIVE:
                bare = re.sub(r"(?i)^(bearer|basic|token|api-key)\s*", "", value).strip().lower()
                if bare not in _NOTHING:
                    return f"the header {name}", []
            elif any(secret in value for secret in secrets):
                return f"the header {name}", []
            elif any(known in value for known in self._environment.others):
                drop.append(name)
        for name, value in parse_qsl(urlsplit(url).query):
            if (
                name.lower() in _SENSITIVE_QUERY
                and value.lower() not in _NOTHING
                and not self._from_the_call(value)
            ):
                return f"the query field {name}", []
        text = url.encode("utf-8", "replace")
        for secret in secrets:
            if any(secret in given for given in self._given):
                continue
            raw = secret.encode("utf-8", "replace")
            if raw in text:
                return "the address", []
            if len(raw) >= 12 and raw in body:
                return "the body", []
        return None, drop


def refusal(provider: str, host: str, what: str) -> str:
    """The message of a refused call: what, where, what next."""
    return (
        f"a credential of the environment for {provider!r} would go to {host} in {what}, which is neither "
        f"the "
        f"provider's own host nor one that the environment or the configuration names. Pass api_key for "
        f"this call, "
        f"or name the host in allowed_hosts."
    )
