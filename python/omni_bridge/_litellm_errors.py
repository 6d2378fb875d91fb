"""Failures of a call through LiteLLM → one of our errors, with status, retryable, retry_after and request_id.

What the provider itself said (status, headers, body, as the hook in the transport saw them) counts more than
how
LiteLLM classified it; LiteLLM's class decides where there was no answer. Messages are bounded and redacted.
"""

from __future__ import annotations

import email.utils
import json
import math
import re
import time
from typing import TYPE_CHECKING, Any

from ._translate_parts import is_list, is_object
from .errors import OmniError, error_for

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MAX_MESSAGE = 1000

# LiteLLM's classes by name, so that a subclass of another version still finds its nearest known ancestor.
BY_CLASS: dict[str, str] = {
    "AuthenticationError": "authentication",
    "NotFoundError": "not_found",
    "BadRequestError": "invalid_request",
    "ImageFetchError": "invalid_request",
    "VectorStoreSearchError": "invalid_request",
    "UnprocessableEntityError": "invalid_request",
    "Timeout": "timeout",
    "APITimeoutError": "timeout",
    "PermissionDeniedError": "permission",
    "RateLimitError": "rate_limit",
    "ContextWindowExceededError": "context_length",
    "PaymentRequiredError": "quota",
    "RejectedRequestError": "content_filter",
    "ContentPolicyViolationError": "content_filter",
    "ServiceUnavailableError": "overloaded",
    "MidStreamFallbackError": "overloaded",
    "BadGatewayError": "provider",
    "InternalServerError": "provider",
    "APIStatusError": "provider",
    "APIError": "provider",
    "APIConnectionError": "connection",
    "APIResponseValidationError": "protocol",
    "JSONSchemaValidationError": "protocol",
    "OpenAIError": "provider",
    "UnsupportedParamsError": "unsupported",
    "ModelNotMappedError": "not_found",
    "BudgetExceededError": "budget",
    "InvalidRequestError": "invalid_request",
    "LiteLLMUnknownProvider": "not_found",
    "GuardrailRaisedException": "content_filter",
    "GuardrailInterventionNormalStringError": "content_filter",
    "BlockedPiiEntityError": "content_filter",
    "ModifyResponseException": "content_filter",
    "SensitiveDataRouteException": "content_filter",
    "MockException": "provider",
    # httpx and openai, which LiteLLM lets through in places
    "TimeoutException": "timeout",
    "ConnectError": "connection",
    "ConnectTimeout": "timeout",
    "ReadTimeout": "timeout",
    "ReadError": "protocol",
    "RemoteProtocolError": "protocol",
    "DecodingError": "protocol",
    "JSONDecodeError": "protocol",
    "TransportError": "connection",
    "NotImplementedError": "unsupported",
}

BY_STATUS: dict[int, str] = {
    400: "invalid_request",
    401: "authentication",
    402: "quota",
    403: "permission",
    404: "not_found",
    408: "timeout",
    409: "invalid_request",
    410: "not_found",
    413: "invalid_request",
    415: "invalid_request",
    422: "invalid_request",
    424: "provider",
    429: "rate_limit",
    499: "provider",
    500: "provider",
    501: "unsupported",
    502: "provider",
    503: "overloaded",
    504: "timeout",
    529: "overloaded",
}

# What a provider's error object calls itself (``type``, ``code`` or ``status``) says more than the HTTP
# status.
BY_WORD: dict[str, str] = {
    "invalid_request_error": "invalid_request",
    "invalid_argument": "invalid_request",
    "failed_precondition": "invalid_request",
    "request_too_large": "invalid_request",
    "authentication_error": "authentication",
    "invalid_api_key": "authentication",
    "unauthenticated": "authentication",
    "insufficient_quota": "quota",
    "billing_error": "quota",
    "billing_hard_limit_reached": "quota",
    "billing_not_active": "quota",
    "insufficient_balance": "quota",
    "permission_error": "permission",
    "permission_denied": "permission",
    "not_found_error": "not_found",
    "model_not_found": "not_found",
    "not_found": "not_found",
    "deadline_exceeded": "timeout",
    "timeout_error": "timeout",
    "context_length_exceeded": "context_length",
    "string_above_max_length": "context_length",
    "content_filter": "content_filter",
    "content_policy_violation": "content_filter",
    "responsibleaipolicyviolation": "content_filter",
    "moderation_blocked": "content_filter",
    "cyber_policy": "content_filter",
    "rate_limit_error": "rate_limit",
    "rate_limit_exceeded": "rate_limit",
    "resource_exhausted": "rate_limit",
    "requests": "rate_limit",
    "tokens": "rate_limit",
    "api_error": "provider",
    "server_error": "provider",
    "internal": "provider",
    "internal_error": "provider",
    "internal_server_error": "provider",
    "overloaded_error": "overloaded",
    "overloaded": "overloaded",
    "service_unavailable": "overloaded",
    "unavailable": "overloaded",
    "slow_down": "overloaded",
}

_CONTEXT = re.compile(
    r"context[ _-]?(length|window)|maximum context|prompt is too long|too many tokens|input is too long|"
    r"exceeds the (maximum|model'?s) (number of )?(allowed )?(input )?tokens|token count .{0,60}exceeds|"
    r"reduce the length of the (messages|input|prompt)",
    re.IGNORECASE,
)
_QUOTA = re.compile(
    r"insufficient[ _](quota|balance|credit|funds)|credit balance is too low|exceeded your current quota, "
    r"please check|"
    r"billing hard limit|out of credits|more credits",
    re.IGNORECASE,
)
_FILTER = re.compile(
    r"content[ _]?(management )?(policy|filter)|safety system|responsible ai|flagged as|usage policies",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"(api[ _]?key|token).{0,40}(not valid|invalid|expired|incorrect)|invalid api[ _]?key", re.IGNORECASE
)

# What httpx and LiteLLM say of a header that cannot be sent, a character of the key among their words.
UNSENDABLE = re.compile(r"Forbidden control character|codec can't encode character|Illegal header value")

_TOKENS = re.compile(
    r"(?i)(bearer\s+)[\w.~+/=-]{6,}"
    r"|\b(?:sk|pk|rk|gsk|xai|key|pplx|csk|nvapi|hf|fw|r8|ghp|gho|ghu|ghs|glpat|xox[abp])[-_][\w-]{8,}"
    r"|\bAIza[\w-]{10,}|\bya29\.[\w.-]{8,}|\b(?:AKIA|ASIA)[A-Z0-9]{12,}|"
    r"\beyJ[\w-]{10,}\.[\w-]{4,}(?:\.[\w-]*)?"
)


def clean(message: str, secrets: Iterable[str] = (), prompts: Iterable[str] = ()) -> str:
    """``message`` without keys, tokens and whole prompts, and of bounded length."""
    message = message[: 20 * MAX_MESSAGE]
    for secret in secrets:
        if len(secret) >= 4 and secret in message:
            message = message.replace(secret, "[redacted]")
    for prompt in prompts:
        if len(prompt) >= 24 and prompt in message:
            message = message.replace(prompt, "[prompt]")
    message = _TOKENS.sub("[redacted]", message)
    message = " ".join(message.replace("\x00", " ").split())
    if len(message) > MAX_MESSAGE:
        message = message[: MAX_MESSAGE - 1] + "…"
    return message.encode("utf-8", "replace").decode("utf-8")


def retry_after(headers: Mapping[str, str], now: float | None = None) -> float | None:
    """Seconds to wait as the headers say: ``retry-after-ms``, then ``retry-after`` (seconds or a date)."""
    for name, scale in (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if not text:
            continue
        try:
            seconds = float(text) * scale
        except ValueError:
            try:
                when = email.utils.parsedate_to_datetime(text)
            except (TypeError, ValueError, IndexError):
                continue
            seconds = when.timestamp() - (time.time() if now is None else now)
        if not math.isfinite(seconds):
            continue
        return max(0.0, seconds)
    return None


_REQUEST_ID = (
    "x-request-id",
    "request-id",
    "anthropic-request-id",
    "x-amzn-requestid",
    "apim-request-id",
    "x-ms-request-id",
    "x-goog-request-id",
    "x-groq-id",
    "mistral-correlation-id",
    "x-debug-trace-id",
    "cf-ray",
)


def request_id(headers: Mapping[str, str]) -> str | None:
    """The provider's id of the request, from its headers."""
    known = {name.lower(): value for name, value in headers.items()}  # httpx searches them all for each name
    for name in _REQUEST_ID:
        value = known.get(name)
        if value:
            return value[:200]
    return None


def error_object(body: Any) -> dict[str, Any]:
    """The error object in a provider's body, in any of the shapes they use."""
    if isinstance(body, (bytes, str)):
        try:
            body = json.loads(body)
        except (ValueError, RecursionError):
            return {}
    if is_list(body):
        body = body[0] if body else {}
    if not is_object(body):
        return {}
    for key in ("error", "errors"):
        inner = body.get(key)
        if is_list(inner) and inner:
            inner = inner[0]
        if is_object(inner):
            return inner
        if isinstance(inner, str):
            return {**body, "message": inner}
    return body


def classify(status: int | None, body: Any) -> tuple[str | None, str]:
    """``(code, message)`` that a provider's status and error body say; code None when they say nothing."""
    error = error_object(body)
    message = next(
        (
            error[key]
            for key in ("message", "detail", "error_message", "msg")
            if isinstance(error.get(key), str)
        ),
        "",
    )
    metadata = error.get("metadata")
    if is_object(metadata) and isinstance(
        metadata.get("raw"), str
    ):  # OpenRouter puts the upstream's words here
        message = f"{message}: {metadata['raw']}"
    if not message and is_list(error.get("detail")):
        message = json.dumps(error["detail"])[:MAX_MESSAGE]
    if status is None and isinstance(error.get("code"), int):
        status = error["code"]
    words = [str(error[key]).lower() for key in ("code", "type", "status") if isinstance(error.get(key), str)]
    code: str | None = None
    for word in words:
        code = BY_WORD.get(word)
        if code is not None and code not in ("invalid_request", "provider"):
            break
    by_status = BY_STATUS.get(status or 0)
    if by_status is None and status is not None and status >= 400:
        by_status = "provider" if status >= 500 else "invalid_request"
    if by_status is not None and (code in (None, "invalid_request", "provider") or by_status == "provider"):
        code = by_status
    if code in ("rate_limit", "invalid_request", "permission", "quota") and _QUOTA.search(message):
        code = "quota"
    elif code in ("invalid_request", "rate_limit") and status != 429 and _CONTEXT.search(message):
        code = "context_length"
    elif code == "invalid_request" and _FILTER.search(message):
        code = "content_filter"
    elif code == "invalid_request" and status == 400 and _BAD_KEY.search(message):
        code = "authentication"
    return code, message


def build(
    code: str,
    message: str,
    *,
    provider: str | None,
    model: str | None,
    status: int | None = None,
    headers: Mapping[str, str] | None = None,
    secrets: Iterable[str] = (),
    prompts: Iterable[str] = (),
    retryable: bool | None = None,
) -> OmniError:
    """One of our errors, cleaned; ``retryable`` follows the code unless a status says otherwise."""
    headers = headers or {}
    if retryable is None and headers.get("x-should-retry") in ("true", "false"):
        retryable = headers["x-should-retry"] == "true"
    if retryable is None and status == 409:
        retryable = True
    kind = error_for(code)
    return kind(
        clean(message, secrets, prompts) or kind.__doc__ or code,
        provider=provider,
        model=model,
        status=status or None,
        retryable=retryable,
        retry_after=retry_after(headers),
        request_id=request_id(headers),
    )


_NO_KEY = re.compile(
    r"missing credentials|missing [\w .]{0,40}(api[ _-]?key|api token)|no key is set|"
    r"api[_ ]?key (client option )?must be set|no api[ _-]?key|"
    r"(api[ _-]?key|credentials?) (not found|is required)",
    re.IGNORECASE,
)


def lacks_key(problem: BaseException) -> bool:
    """Whether LiteLLM or a client that it uses says that it was given no key, in whatever class."""
    try:
        return _NO_KEY.search(str(problem)[: 20 * MAX_MESSAGE]) is not None
    except Exception:  # some of LiteLLM's classes cannot print themselves when an attribute is missing
        return False


def by_class(problem: BaseException) -> str | None:
    """The code of the nearest ancestor of the exception's class that the table knows."""
    for kind in type(problem).__mro__:
        code = BY_CLASS.get(kind.__name__)
        if code is not None:
            return code
    return None


def chain(problem: BaseException) -> list[BaseException]:
    """The exception and what caused it, outermost first, without cycles."""
    seen: list[BaseException] = []
    current: BaseException | None = problem
    while current is not None and current not in seen and len(seen) < 12:
        seen.append(current)
        current = current.__cause__ or current.__context__
    return seen
