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

import functools
import os
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, unquote, urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_AWS_TOKENS = ("sts.amazonaws.com", "sts.{region}.amazonaws.com", "sts.{region}.amazonaws.com.cn")

OWN_HOSTS: dict[str, tuple[str, ...]] = {
    "abliteration": ("api.abliteration.ai",),
    "ai21": ("api.ai21.com",),
    "aihubmix": ("aihubmix.com",),
    "aiml": ("api.aimlapi.com",),
    "aiohttp_openai": ("api.openai.com",),
    "aleph_alpha": ("api.aleph-alpha.com",),
    "amazon_nova": ("api.nova.amazon.com",),
    "anthropic": ("api.anthropic.com",),
    "apertis": ("api.stima.tech",),
    "assemblyai": ("llm-gateway.assemblyai.com", "api.assemblyai.com"),
    "azure": ("login.microsoftonline.com",),
    "baseten": ("inference.baseten.co",),
    "bedrock": (
        "bedrock-runtime.{region}.amazonaws.com",
        "bedrock-runtime-fips.{region}.amazonaws.com",
        "bedrock-runtime.{region}.amazonaws.com.cn",
        "bedrock-runtime.{region}.api.aws",
        "bedrock.{region}.amazonaws.com",
        "bedrock-agent-runtime.{region}.amazonaws.com",
        "bedrock-agentcore.{region}.amazonaws.com",
        "bedrock-mantle.{region}.api.aws",
        "aws-external-anthropic.{region}.api.aws",
        *_AWS_TOKENS,
    ),
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
    "crusoe": ("managed-inference-api-proxy.crusoecloud.com",),
    "custom_openai": ("api.openai.com",),
    "darkbloom": ("api.darkbloom.dev",),
    "dashscope": ("dashscope.aliyuncs.com", "dashscope-intl.aliyuncs.com"),
    "datarobot": ("app.datarobot.com",),
    "deepinfra": ("api.deepinfra.com",),
    "deepseek": ("api.deepseek.com",),
    "edenai": ("api.edenai.run",),
    "empiriolabs": ("api.empiriolabs.ai",),
    "empower": ("app.empower.dev",),
    "fal_ai": ("fal.run", "queue.fal.run"),
    "featherless_ai": ("api.featherless.ai",),
    "fireworks_ai": ("api.fireworks.ai",),
    "friendliai": ("api.friendli.ai",),
    "galadriel": ("api.galadriel.com",),
    "gemini": ("generativelanguage.googleapis.com",),
    "gigachat": ("gigachat.devices.sberbank.ru", "ngw.devices.sberbank.ru"),
    "gmi": ("api.gmi-serving.com",),
    "github": ("models.inference.ai.azure.com", "models.github.ai"),
    "github_copilot": (
        "api.githubcopilot.com",
        "*.githubcopilot.com",
        "api.*.githubcopilot.com",
        "api.github.com",
        "github.com",
    ),
    "gradient_ai": ("inference.do-ai.run",),
    "groq": ("api.groq.com",),
    "helicone": ("ai-gateway.helicone.ai",),
    "heroku": ("us.inference.heroku.com", "eu.inference.heroku.com"),
    "huggingface": (
        "router.huggingface.co",
        "api-inference.huggingface.co",
        "huggingface.co",
    ),
    "hyperbolic": ("api.hyperbolic.xyz",),
    "inception": ("api.inceptionlabs.ai",),
    "lambda_ai": ("api.lambda.ai",),
    "libertai": ("api.libertai.io",),
    "llamagate": ("api.llamagate.dev",),
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
    "oci": ("inference.generativeai.*.oci.oraclecloud.com",),
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
    "sagemaker": (
        "runtime.sagemaker.{region}.amazonaws.com",
        "runtime-fips.sagemaker.{region}.amazonaws.com",
        "runtime.sagemaker.{region}.amazonaws.com.cn",
        *_AWS_TOKENS,
    ),
    "sail": ("api.sailresearch.com",),
    "sambanova": ("api.sambanova.ai",),
    "sap": ("api.ai.*.*.*.ml.hana.ondemand.com",),
    "sarvam": ("api.sarvam.ai",),
    "scaleway": ("api.scaleway.ai",),
    "scx-ai": ("api.scx.ai",),
    "snowflake": ("{SNOWFLAKE_ACCOUNT_ID}.snowflakecomputing.com",),
    "synthetic": ("api.synthetic.new",),
    "tencent": ("tokenhub-intl.tencentcloudmaas.com",),
    "tensormesh": ("serverless.tensormesh.ai",),
    "text-completion-codestral": ("codestral.mistral.ai",),
    "text-completion-inception": ("api.inceptionlabs.ai",),
    "text-completion-openai": ("api.openai.com",),
    "together_ai": ("api.together.ai", "api.together.xyz"),
    "v0": ("api.v0.dev",),
    "veniceai": ("api.venice.ai",),
    "vercel_ai_gateway": ("ai-gateway.vercel.sh",),
    "vertex_ai": (
        "aiplatform.googleapis.com",
        "*-aiplatform.googleapis.com",
        "aiplatform.*.rep.googleapis.com",
        "oauth2.googleapis.com",
        "sts.googleapis.com",
        "iamcredentials.googleapis.com",
    ),
    "volcengine": ("ark.cn-*.volces.com", "ark.ap-*.volces.com"),
    "wandb": ("api.inference.wandb.ai",),
    "watsonx": ("*.ml.cloud.ibm.com", "iam.cloud.ibm.com"),
    "xai": ("api.x.ai", "us-east-1.api.x.ai", "eu-west-1.api.x.ai"),
    "xiaomi_mimo": ("api.xiaomimimo.com",),
    "zai": ("api.z.ai", "open.bigmodel.cn"),
}
"""A provider's own hosts.

``*`` stands for a piece of one name between two dots, ``{region}`` for a region of AWS, and ``{NAME}`` for
the value of that environment variable. No pattern may match a name that a stranger can register: anybody can
have ``x.openai.azure.com``, an endpoint at Hugging Face, a workspace at Databricks, or a bucket called
``bedrock-runtime`` under ``s3.amazonaws.com``. Where every customer has a host of its own, only the
environment (`Environment.bases_of`) or the configuration can say which one is meant.
"""
_VARIABLE = re.compile(r"\{([A-Z][A-Z0-9_]*)\}")
_REGION = r"[a-z]{2}(-[a-z]+)+-[0-9]{1,2}"

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
    "azure_ai": "azure",
    "azure_text": "azure",
}

_PREFIXES: dict[str, tuple[str, ...]] = {
    "azure": ("AZURE",),
    "huggingface": ("HF", "HUGGINGFACE"),
    "sap": ("AICORE",),
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
_ADDRESSES = re.compile(r"https?://[^\s\"'\\<>]+")

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
_API_KEY = re.compile(r"((API|AUTH|ACCESS)_?)?(KEY|TOKEN)")
_NOTHING = frozenset(
    {"", "none", "null", "undefined", "nokey", "no-key", "fake-api-key", "not-needed", "dummy", "empty"}
)

MIN_LENGTH = 6
"""Shorter values are found in too many places to mean anything."""
LONG = 12
"""A secret of this length is not found by chance."""
PLACEHOLDER = "no-key"
"""What stands in for a key where LiteLLM insists on one and none is needed (a local server)."""


class Environment:
    """What a guard needs to know of the environment's variables, worked out once for each state of them."""

    def __init__(self, variables: Mapping[str, str]) -> None:
        self.variables = dict(variables)
        self.secrets: dict[str, str] = {}
        """Value → name, of every variable that holds a credential."""
        self.others: list[str] = []
        """Values that are no credentials and not the system's own, such as an account's id."""
        self.bases: list[tuple[str, str]] = []
        """(name, value) of every variable that may hold a base URL."""
        for name, value in variables.items():
            if value and _BASE.search(name):
                self.bases.append((name, value))
            elif value.lstrip().startswith("{"):  # a service's key with its addresses in it
                self.bases.extend((name, url) for url in _ADDRESSES.findall(value))
            if len(value) < MIN_LENGTH or _OF_THE_SYSTEM.match(name):
                continue
            if CREDENTIAL_NAME.search(name) and not value.startswith(("/", "http://", "https://")):
                self.secrets[value] = name
            else:
                self.others.append(value)

    def bases_of(self, provider: str) -> list[str]:
        """The base URLs that the environment sets for a provider."""
        prefixes = _prefixes(provider)
        return [value for name, value in self.bases if name.startswith(prefixes)]

    def key_of(self, provider: str) -> str | None:
        """The name of the variable that holds a provider's API key, None without one."""
        for prefix in _prefixes(provider):
            for name in self.secrets.values():
                if name.startswith(prefix) and _API_KEY.fullmatch(name.removeprefix(prefix)):
                    return name
        return None


def family(provider: str) -> str:
    """The provider of LiteLLM's that this one is another name of."""
    return _SAME_AS.get(provider, provider)


@functools.lru_cache(256)
def _prefixes(provider: str) -> tuple[str, ...]:
    """How the names of a provider's variables begin."""
    names = dict.fromkeys((provider, _SAME_AS.get(provider, provider)))
    plain = [re.sub(r"[^A-Z0-9]", "_", name.upper()) for name in names]
    more = [prefix for name in names for prefix in _PREFIXES.get(name, ())]
    return tuple(
        f"{prefix}_" for prefix in dict.fromkeys((*more, *plain, *(name.replace("_", "") for name in plain)))
    )


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


@functools.cache
def _pattern(own: str) -> re.Pattern[str]:
    """What a name of `OWN_HOSTS` without variables matches."""
    escaped = re.escape(own).replace(r"\*", "[a-z0-9-]+").replace(r"\{region\}", _REGION)
    return re.compile(escaped)


def _host_matches(host: str, own: Iterable[str], variables: Mapping[str, str]) -> bool:
    for name in own:
        variable = _VARIABLE.search(name)
        if variable is None:
            if _pattern(name).fullmatch(host):
                return True
        else:
            value = variables.get(variable[1], "").lower()
            if re.fullmatch(r"[a-z0-9_-]+", value) and host == name.replace(variable[0], value):
                return True
    return False


def _address(url: str) -> tuple[str, int | None]:
    parts = urlsplit(url if "://" in url else "//" + url)
    port = parts.port if parts.port is not None else {"http": 80, "https": 443}.get(parts.scheme)
    return (parts.hostname or "").lower().rstrip("."), port


def _same(base: str, host: str, port: int | None) -> bool:
    """Whether a base URL is at this host and port; one that cannot be read is nowhere."""
    try:
        return _address(base) == (host, port)
    except ValueError:
        return False


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
        self._names_host = not request.get("api_key") and any(name.lower() == "host" for name in headers)
        self._withheld = {
            secret: name
            for secret, name in environment.secrets.items()
            if not any(secret in given for given in self._given)
        }
        """The environment's secrets but for those that the caller gave for this call as well."""
        self._known: dict[str, bool] = {}

    def trusted(self, url: str) -> bool:
        """Whether credentials of the environment may go to this address."""
        known = self._known.get(url)
        if known is None:
            known = self._known[url] = self._may_see(url)
        return known

    def _may_see(self, url: str) -> bool:
        host, port = _address(url)
        if url.startswith("https:") and _host_matches(host, self._own, self._environment.variables):
            return True
        if _named(host, port, self._allowed):
            return True
        # https is not taken back: a base of https is none for plain text on its port.
        plain = not url.lower().startswith("https:")
        return any(
            _same(base, host, port) and not (plain and base.strip().lower().startswith("https:"))
            for base in self._environment.bases_of(self.provider)
        )

    def misses_key(self, url: str) -> bool:
        """Whether a call to this base brings no credential of its own and must not take the environment's."""
        if self._given or self._environment.key_of(self.provider) is None:
            return False
        try:
            return not self.trusted(url)
        except ValueError:
            return True

    def renamed(self, url: str, headers: Iterable[tuple[str, str]]) -> str | None:
        """Why a request may not go whose host the caller names, None if it may.

        What stands before a provider hands a request on by that name, and this rule knows the address only.
        """
        if not self._names_host:
            return None
        for spelled, value in headers:
            name = spelled.lower()
            brought = self._harmless(value) or (name not in SENSITIVE and not self._holds(value))
            if not brought and name not in _HARMLESS:
                return HOST_REFUSAL
        return HOST_REFUSAL if self._credential_field(url) else None

    def _from_the_call(self, value: str) -> bool:
        # Whole values only: a part of one could be chosen to stand in anybody's key.
        return value in self._given or value.partition(" ")[2].strip() in self._given

    def _harmless(self, value: str) -> bool:
        """Whether a value is the caller's own or none at all; a value may be several joined with a comma."""
        if self._from_the_call(value):
            return True
        for piece in value.split(","):
            bare = re.sub(r"(?i)^\s*(bearer|basic|token|api-key)\b", "", piece).strip()
            if bare.lower() not in _NOTHING and not self._from_the_call(piece.strip()):
                return False
        return True

    def _holds(self, text: str, at_least: int = MIN_LENGTH) -> bool:
        return any(secret in text for secret in self._withheld if len(secret) >= at_least)

    def _credential_field(self, url: str) -> str | None:
        """The query's field with a credential that the call did not bring."""
        for name, value in parse_qsl(urlsplit(url).query):
            if self._holds(value) or (name.lower() in _SENSITIVE_QUERY and not self._harmless(value)):
                return name
        return None

    def verdict(
        self, url: str, headers: Iterable[tuple[str, str]], body: bytes
    ) -> tuple[str | None, list[str]]:
        """``(what is wrong, headers to leave out)`` for one outgoing request; wrong is None if it may go."""
        if self.trusted(url):
            return None, []
        drop: list[str] = []
        for spelled, value in headers:
            # The name says nothing: LiteLLM puts its key under names that the caller set too.
            name = spelled.lower()
            usual = name in _HARMLESS or name.startswith("x-stainless-")
            if self._holds(value, LONG if usual else MIN_LENGTH):
                return f"the header {name}", []
            if usual or self._harmless(value):
                continue
            if name in SENSITIVE:
                return f"the header {name}", []
            if any(known in value for known in self._environment.others):
                drop.append(name)
        field = self._credential_field(url)
        if field is not None:
            return f"the query field {field}", []
        if self._holds(url) or self._holds(unquote(url)):
            return "the address", []
        for secret in self._withheld:
            # Their words are many: a short secret would be found in them by chance.
            if len(secret) >= LONG and secret.encode("utf-8", "replace") in body:
                return "the body", []
        return None, drop


HOST_REFUSAL = (
    "headers.host: with a key that the call did not bring, the address alone says whom it reaches. Pass "
    "api_key for this call, or leave the header out"
)


def refusal(provider: str, host: str, what: str) -> str:
    """The message of a refused call: what, where, what next."""
    return (
        f"a credential of the environment for {provider!r} would go to {host} in {what}, which is neither "
        f"the "
        f"provider's own host nor one that the environment or the configuration names. Pass api_key for "
        f"this call, "
        f"or name the host in allowed_hosts."
    )
