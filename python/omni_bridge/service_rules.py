"""What the HTTP door allows: small pure decisions, no I/O.

Each function answers one question and raises an error of the contract, with what to do about it, when the
answer is no. `service.py` asks them in the order in which they stand here.
"""

from __future__ import annotations

import hmac
import ipaddress
import json
import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from .errors import AuthenticationError, InvalidRequestError, OverloadedError, PermissionDeniedError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

__all__ = [
    "BodiesFullError",
    "BodyTooLargeError",
    "check_bind",
    "check_bytes",
    "check_host",
    "check_length",
    "check_origin",
    "check_room",
    "check_token",
    "forbidden_fields",
    "forbidden_in",
    "host_of",
    "is_loopback",
]

LOOPBACK_NAMES: Final = frozenset({"localhost", "127.0.0.1", "::1"})
WILDCARDS: Final = frozenset({"0.0.0.0", "::", ""})  # noqa: S104  # recognised here so that it can be refused

# Top-level fields of a request that say where a call goes or with which credential.
ENDPOINT_FIELDS: Final = ("api_base", "api_key", "headers")
# The same inside `provider_options`, in all the spellings that LiteLLM and the providers' SDKs know.
ENDPOINT_OPTION: Final = re.compile(
    r"(azure|aws|vertex|litellm)_.*|(default_|extra_)?headers|organization|proxy|proxies|http_client|client"
    r"|custom_llm_provider|(.*_)?(api_key|api_base|api_version|base_url|endpoint(_url)?|access_key(_id)?"
    r"|secret(_access_key)?|(auth|access|bearer)_token|credentials?(_path)?)",
    re.IGNORECASE,
)
# Deeper down only what cannot be a field of the provider's own, such as a property of a schema.
NESTED_OPTION: Final = re.compile(
    r"litellm_.*|(default_|extra_)headers|http_client|custom_llm_provider|(.*_)?(api_key|api_base|base_url)",
    re.IGNORECASE,
)
NOT_OPTIONS: Final = frozenset({"metadata", "properties"})
CARRIERS: Final = (*ENDPOINT_FIELDS, "fallbacks", "provider_options", "extra", "://", "\\/")


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine can reach an address to listen on.

    >>> is_loopback("127.0.0.2"), is_loopback("localhost"), is_loopback("::1"), is_loopback("0.0.0.0")
    (True, True, True, False)
    """
    if host == "localhost":
        return True
    address = _address(host)
    return address is not None and address.is_loopback


def check_bind(host: str, token: str | None) -> None:
    """Refuse to listen where other machines can reach us without a token.

    Raises:
        PermissionDeniedError: `host` is not a loopback address and there is no token.

    >>> check_bind("127.0.0.1", None)
    >>> check_bind("0.0.0.0", "secret")
    >>> check_bind("0.0.0.0", None)  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    omni_bridge.errors.PermissionDeniedError: refusing to listen on 0.0.0.0, which other machines ...
    """
    if is_loopback(host) or token:
        return
    raise PermissionDeniedError(
        f"refusing to listen on {host or 'every address'}, which other machines can reach, without a token: "
        "set OMNI_SERVE_TOKEN or give --token-file, or listen on 127.0.0.1"
    )


def host_of(header: str) -> str | None:
    """The host of a Host header in lower case without port, brackets and final dot; None if it is malformed.

    >>> host_of("LocalHost:8411"), host_of("[::1]:80"), host_of("a.b."), host_of("evil@good"), host_of("")
    ('localhost', '::1', 'a.b', None, None)
    """
    found = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9._-]+))(?::\d{1,5})?", header.strip())
    if found is None:
        return None
    return (found[1] or found[2]).lower().rstrip(".") or None


def check_host(header: str | None, bound: str, allowed: Collection[str]) -> None:
    """Refuse a Host that is not ours: a page whose name was rebound to this address sends its own name.

    Allowed are the loopback names, the host that we listen on, those in `allowed` and, when we listen on
    every address, any literal IP address (a rebound page has a name).

    Args:
        header: the Host header, None if there was none.
        bound: the host that the server was told to listen on.
        allowed: further names, in lower case.

    Raises:
        PermissionDeniedError: the host is none of these.

    >>> check_host("localhost:8411", "127.0.0.1", ())
    >>> check_host("evil.example:8411", "127.0.0.1", ())  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    omni_bridge.errors.PermissionDeniedError: the Host header names a host that is not served here...
    """
    host = host_of(header or "")
    if host is not None and _is_ours(host, bound, allowed):
        return
    raise PermissionDeniedError(
        "the Host header names a host that is not served here; if it is meant, start the server with "
        "--allowed-host NAME"
    )


def check_origin(header: str | None, bound: str, allowed: Collection[str]) -> None:
    """Refuse requests that a web page of another site makes; programs that are no browser send no Origin.

    Raises:
        PermissionDeniedError: the origin's host would not be allowed as a Host.

    >>> check_origin(None, "127.0.0.1", ())
    >>> check_origin("http://localhost:3000", "127.0.0.1", ())
    >>> check_origin("https://evil.example", "127.0.0.1", ())  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    omni_bridge.errors.PermissionDeniedError: the Origin header names a site that may not call this server...
    """
    if header is None:
        return
    try:
        origin = urlsplit(header)
        host = host_of(origin.netloc) if origin.scheme in ("http", "https") else None
    except ValueError:  # a malformed address in brackets
        host = None
    if host is not None and _is_ours(host, bound, allowed):
        return
    raise PermissionDeniedError(
        "the Origin header names a site that may not call this server; if it is meant, start the server with "
        "--allowed-host NAME"
    )


def check_token(authorization: str | None, token: str | None) -> None:
    """Refuse a wrong or missing bearer token; takes the same time however much of it is right.

    Raises:
        AuthenticationError: a token is needed and this is not it.

    >>> check_token("Bearer s3cret", "s3cret")
    >>> check_token("Basic s3cret", "s3cret")  # doctest: +IGNORE_EXCEPTION_DETAIL
    Traceback (most recent call last):
    omni_bridge.errors.AuthenticationError: this server needs its token: send the header "Authorization: ...
    """
    if token is None:
        return
    scheme, _, given = (authorization or "").partition(" ")
    right = hmac.compare_digest(given.strip().encode("utf-8", "replace"), token.encode("utf-8", "replace"))
    if scheme.lower() == "bearer" and right:
        return
    raise AuthenticationError('this server needs its token: send the header "Authorization: Bearer ..."')


def check_room(running: int, limit: int) -> None:
    """Refuse a call when as many as may run are running.

    Raises:
        OverloadedError: with ``retry_after``; the same call may succeed soon.
    """
    if running >= limit:
        raise OverloadedError(
            f"{limit} calls are running, which is the limit; try again soon, or raise it with --max-calls",
            retry_after=1.0,
        )


class BodiesFullError(OverloadedError):
    """There is no room for another body: ``overloaded``; this one is not read."""


def check_bytes(held: int, more: int, limit: int) -> None:
    """Refuse a body when, with it, the requests of all running calls would hold more than the limit (bytes).

    Raises:
        BodiesFullError: with ``retry_after``; the same call may succeed soon.

    >>> check_bytes(90, 10, 100)
    """
    if held + more > limit:
        raise BodiesFullError(
            f"the requests of the running calls fill {limit:,} bytes, which is the limit; try again soon, or "
            "raise it with --max-bodies",
            retry_after=1.0,
        )


class BodyTooLargeError(InvalidRequestError):
    """The body is above the limit: ``invalid_request`` with HTTP's own status for it."""

    http_status = 413


def check_length(length: int, limit: int) -> None:
    """Refuse a body above the limit (bytes).

    Raises:
        BodyTooLargeError: it is.
    """
    if length > limit:
        raise BodyTooLargeError(f"the body is larger than {limit:,} bytes; --max-body sets that limit")


def forbidden_fields(body: bytes) -> list[str]:
    """The paths in a request that say where it goes or with which credential, in the order of their names.

    Looked at are ``api_base``, ``api_key`` and ``headers`` at the top and inside ``fallbacks``, whatever
    looks like an endpoint or a credential among a provider's ``provider_options``, and a ``model`` that is an
    address.

    Raises:
        InvalidRequestError: the body is not a JSON object.

    >>> forbidden_fields(b'{"api_key": "k", "fallbacks": ["a/b", {"model": "c/d", "api_base": "http://x"}]}')
    ['api_key', 'fallbacks[1].api_base']
    >>> forbidden_fields(b'{"messages": [{"role": "user", "content": "my api_key"}], "headers": null}')
    []
    """
    # Most requests name none of these. JSON can spell a letter as \\u00xx, so an escape means a closer look
    # too.
    if b"\\u00" not in body and not any(name.encode() in body for name in CARRIERS):
        return []
    try:
        request: Any = json.loads(body.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        raise InvalidRequestError("the body is not JSON") from None
    if not isinstance(request, dict):
        raise InvalidRequestError("the body is not a JSON object")
    return forbidden_in(cast("dict[str, Any]", request))


def forbidden_in(request: dict[str, Any]) -> list[str]:
    """`forbidden_fields` of a request that has been read."""
    return list(_forbidden(request, ""))


def _forbidden(request: dict[str, Any], path: str) -> Iterator[str]:
    for name in ENDPOINT_FIELDS:
        if request.get(name) is not None:
            yield path + name
    if _is_address(request.get("model")):
        yield f"{path}model"
    options = request.get("provider_options")
    if isinstance(options, dict):
        for provider, fields in cast("dict[str, Any]", options).items():
            yield from _among_options(fields, f"{path}provider_options.{provider}")
    yield from _among_options(request.get("extra"), f"{path}extra")
    fallbacks = request.get("fallbacks")
    if isinstance(fallbacks, list):
        for number, fallback in enumerate(cast("list[Any]", fallbacks)):
            if isinstance(fallback, dict):
                yield from _forbidden(cast("dict[str, Any]", fallback), f"{path}fallbacks[{number}].")
            elif _is_address(fallback):
                yield f"{path}fallbacks[{number}]"


def _is_address(model: object) -> bool:
    """Whether a model id is one of those that LiteLLM takes for the address to call."""
    return isinstance(model, str) and "://" in model


def _among_options(options: object, path: str) -> Iterator[str]:
    # By a list of what is left, not by calling itself: how deep it goes is the sender's choice.
    left: list[tuple[object, str, bool]] = [(options, path, True)]
    while left:
        value, at, top = left.pop()
        if isinstance(value, list):
            items = cast("list[object]", value)
            left.extend((item, f"{at}[{number}]", False) for number, item in enumerate(items))
        elif isinstance(value, dict):
            rule = ENDPOINT_OPTION if top else NESTED_OPTION
            for name, field in cast("dict[str, object]", value).items():
                if rule.fullmatch(name):
                    yield f"{at}.{name}"
                elif name not in NOT_OPTIONS:
                    left.append((field, f"{at}.{name}", False))


def _is_ours(host: str, bound: str, allowed: Collection[str]) -> bool:
    if host in LOOPBACK_NAMES or host in allowed:
        return True
    if bound in WILDCARDS:
        return _address(host) is not None
    return host == (host_of(bound) or bound.lower())


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
