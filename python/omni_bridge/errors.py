"""The errors of ``omni_bridge``: one base, one class for each code of the contract.

Catch `OmniError` for everything, or the class of one code::

    OmniError
    ├── InvalidRequestError      invalid_request      the request breaks the contract, or the provider says so
    ├── AuthenticationError      authentication       no key, a wrong key, or one that may not go to this host
    ├── QuotaError               quota                the account has no credit left
    ├── PermissionDeniedError    permission           the key is known but may not do this
    ├── NotFoundError            not_found            no such model or endpoint
    ├── RequestTimeoutError      timeout              a limit of ``timeout`` passed, or the provider timed out
    ├── ContextLengthError       context_length       the input is longer than the model's context
    ├── ContentFilterError       content_filter       the provider refused the input or the output
    ├── RateLimitError           rate_limit           too many calls or tokens in a time; see ``retry_after``
    ├── BudgetError              budget               a budget of ours is spent
    ├── ProviderError            provider             the provider failed (5xx)
    ├── ProtocolError            protocol             the answer is malformed or was cut off
    ├── ConnectionFailedError    connection           the provider could not be reached
    ├── OverloadedError          overloaded           the provider is overloaded (503, 529)
    ├── EngineUnavailableError   engine_unavailable   no interpreter, no package, another contract
    ├── UnsupportedError         unsupported          valid, but this engine or provider cannot do it
    ├── CancelledError           cancelled            the caller cancelled
    └── InternalError            internal             a bug of ours

Source: the closed set of codes of contract 1; in Rust ``omni_core::Code``, in C one number for each.

>>> error = RateLimitError("slow down", provider="openai", status=429, retry_after=2.5)
>>> error.code, error.retryable, error.retry_after
('rate_limit', True, 2.5)
>>> OmniError.from_dict(error.to_dict())
RateLimitError('slow down', provider='openai', status=429, retry_after=2.5)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "AuthenticationError",
    "BudgetError",
    "CancelledError",
    "ConnectionFailedError",
    "ContentFilterError",
    "ContextLengthError",
    "EngineUnavailableError",
    "InternalError",
    "InvalidRequestError",
    "NotFoundError",
    "OmniError",
    "OverloadedError",
    "PermissionDeniedError",
    "ProtocolError",
    "ProviderError",
    "QuotaError",
    "RateLimitError",
    "RequestTimeoutError",
    "UnsupportedError",
    "error_for",
]

_OPTIONAL: Final = ("provider", "model", "status", "retry_after", "request_id")


class OmniError(Exception):
    """What every failure of ``omni_bridge`` is.

    A key, a token or a whole prompt never stands in it: whoever makes one sees to that.

    Args:
        message: What happened, where, and what to do next; for people.
        provider: The provider that was asked, if the call got that far.
        model: The model id that was asked for.
        status: The provider's own HTTP status.
        retryable: Whether the same call may succeed later; by default what is usual for the code.
        retry_after: Seconds to wait before the next try, as the provider asked.
        request_id: The provider's id of the failed request, for its support.

    >>> try:
    ...     raise OverloadedError("try again later", provider="anthropic", status=529)
    ... except OmniError as error:
    ...     print(error.code, error.http_status, error)
    overloaded 503 try again later
    """

    code: ClassVar[str] = "internal"
    """The code of the contract."""
    http_status: ClassVar[int] = 500
    """The HTTP status with which our own HTTP door answers (not the provider's: that is ``status``)."""
    number: ClassVar[int] = 18
    """The number of the code in the C interface."""
    retryable_by_default: ClassVar[bool] = False
    """Whether the same call may succeed later when nothing else is known."""

    message: str
    provider: str | None
    model: str | None
    status: int | None
    retryable: bool
    retry_after: float | None
    request_id: str | None

    def __init__(
        self,
        message: str = "",
        *,
        provider: str | None = None,
        model: str | None = None,
        status: int | None = None,
        retryable: bool | None = None,
        retry_after: float | None = None,
        request_id: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.provider = provider
        self.model = model
        self.status = status
        self.retryable = self.retryable_by_default if retryable is None else retryable
        self.retry_after = retry_after
        self.request_id = request_id

    def to_dict(self) -> dict[str, Any]:
        """The error document of the contract; every key is there, unknown is None."""
        return {
            "code": self.code,
            "message": self.message,
            "provider": self.provider,
            "model": self.model,
            "status": self.status,
            "retryable": self.retryable,
            "retry_after": self.retry_after,
            "request_id": self.request_id,
        }

    @staticmethod
    def from_dict(document: Mapping[str, Any]) -> OmniError:
        """The exception of an error document, of the class of its code.

        Keys that are missing are taken as unknown; an unknown code (a newer contract) gives `InternalError`
        with that code in the message, for an exception is needed in any case.
        """
        code = str(document.get("code", ""))
        message = str(document.get("message") or "")
        kind = _BY_CODE.get(code)
        if kind is None:
            kind, message = InternalError, f"[unknown error code {code[:64]!r}] {message}"
        return kind(
            message,
            retryable=document.get("retryable"),
            **{name: document.get(name) for name in _OPTIONAL},
        )

    def __reduce__(self) -> tuple[Any, ...]:
        # By the document: the keyword-only fields would be lost in Exception's own way (class, args).
        # The attributes that somebody added (notes, a partial reply) come along as the state.
        known = {"message", "retryable", *_OPTIONAL}
        added = {name: value for name, value in self.__dict__.items() if name not in known}
        return (_rebuild, (type(self), self.to_dict()), added or None)

    def __repr__(self) -> str:
        given = [f"{name}={value!r}" for name in _OPTIONAL if (value := getattr(self, name)) is not None]
        if self.retryable != self.retryable_by_default:
            given.append(f"retryable={self.retryable!r}")
        return f"{type(self).__name__}({', '.join([repr(self.message), *given])})"


def _rebuild(kind: type[OmniError], document: dict[str, Any]) -> OmniError:
    fields = {name: document[name] for name in (*_OPTIONAL, "retryable")}
    return kind(document["message"], **fields)


class InvalidRequestError(OmniError):
    """The request breaks the contract, or the provider says that it is malformed."""

    code = "invalid_request"
    http_status = 400
    number = 1


class AuthenticationError(OmniError):
    """No key, a wrong key, or a key that may not be sent to this host."""

    code = "authentication"
    http_status = 401
    number = 2


class QuotaError(OmniError):
    """The account has no credit left."""

    code = "quota"
    http_status = 402
    number = 3


class PermissionDeniedError(OmniError):
    """The key is known but may not do this."""

    code = "permission"
    http_status = 403
    number = 4


class NotFoundError(OmniError):
    """No such model or endpoint."""

    code = "not_found"
    http_status = 404
    number = 5


class RequestTimeoutError(OmniError):
    """A limit of ``timeout`` passed, or the provider said that it timed out."""

    code = "timeout"
    http_status = 408
    number = 6
    retryable_by_default = True


class ContextLengthError(OmniError):
    """The input is longer than the model's context."""

    code = "context_length"
    http_status = 400
    number = 7


class ContentFilterError(OmniError):
    """The provider refused the input or the output for its content."""

    code = "content_filter"
    http_status = 400
    number = 8


class RateLimitError(OmniError):
    """Too many calls or tokens in a time; ``retry_after`` says when to come back, if the provider said."""

    code = "rate_limit"
    http_status = 429
    number = 9
    retryable_by_default = True


class BudgetError(OmniError):
    """A budget of ours (tokens or dollars) is spent."""

    code = "budget"
    http_status = 429
    number = 10


class ProviderError(OmniError):
    """The provider failed (5xx)."""

    code = "provider"
    http_status = 502
    number = 11
    retryable_by_default = True


class ProtocolError(OmniError):
    """The answer is malformed or was cut off."""

    code = "protocol"
    http_status = 502
    number = 12
    retryable_by_default = True


class ConnectionFailedError(OmniError):
    """The provider could not be reached, or the connection broke."""

    code = "connection"
    http_status = 502
    number = 13
    retryable_by_default = True


class OverloadedError(OmniError):
    """The provider is overloaded (503, 529)."""

    code = "overloaded"
    http_status = 503
    number = 14
    retryable_by_default = True


class EngineUnavailableError(OmniError):
    """The engine cannot run: no interpreter, no package, another contract."""

    code = "engine_unavailable"
    http_status = 503
    number = 15


class UnsupportedError(OmniError):
    """The request is valid but this engine or provider cannot do it."""

    code = "unsupported"
    http_status = 400
    number = 16


class CancelledError(OmniError):
    """The caller cancelled (not asyncio's exception of that name: a cancelled task still gets that one)."""

    code = "cancelled"
    http_status = 499
    number = 17


class InternalError(OmniError):
    """A bug of ours."""

    code = "internal"
    http_status = 500
    number = 18


_BY_CODE: Final[dict[str, type[OmniError]]] = {
    kind.code: kind
    for kind in (
        InvalidRequestError,
        AuthenticationError,
        QuotaError,
        PermissionDeniedError,
        NotFoundError,
        RequestTimeoutError,
        ContextLengthError,
        ContentFilterError,
        RateLimitError,
        BudgetError,
        ProviderError,
        ProtocolError,
        ConnectionFailedError,
        OverloadedError,
        EngineUnavailableError,
        UnsupportedError,
        CancelledError,
        InternalError,
    )
}


def error_for(code: str) -> type[OmniError]:
    """The class of a code of the contract.

    Raises:
        KeyError: There is no such code.

    >>> error_for("budget").__name__
    'BudgetError'
    """
    try:
        return _BY_CODE[code]
    except KeyError:
        raise KeyError(f"{code!r} is no error code; the codes are {', '.join(_BY_CODE)}") from None
