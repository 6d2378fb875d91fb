"""What a call's answer must be for each fault of `FaultServer`: one table for every engine."""

from __future__ import annotations

import omni_bridge

KEY = "sk-the-callers-own-key-1234567890"
PROMPT = "a prompt that is long enough to be noticed where it should not stand"
WIRES = {
    "openai_chat": ("openai/gpt-4o", "/v1"),
    "openai_responses": ("openai/responses/gpt-5", "/v1"),
    "anthropic": ("anthropic/claude-sonnet-4-5", ""),
    "gemini": ("gemini/gemini-2.5-flash", "/v1beta"),
}
TEXT = "Hello, wörld 🌍!"

# By the fault's name: the code of the contract and the status.
EXPECTED = {
    "400": ("invalid_request", 400),
    "401": ("authentication", 401),
    "402": ("quota", 402),
    "403": ("permission", 403),
    "404": ("not_found", 404),
    "408": ("timeout", 408),
    "413": ("invalid_request", 413),
    "429": ("rate_limit", 429),
    "500": ("provider", 500),
    "502": ("provider", 502),
    "503": ("overloaded", 503),
    "529": ("overloaded", 529),
    "context_length": ("context_length", 400),
    "content_filter": ("content_filter", 400),
    "quota": ("quota", 429),
    "cut": ("protocol", 200),
    "cut_clean": ("protocol", 200),
    "reset": ("protocol", 200),
    "no_finish": ("protocol", 200),
    "html": ("protocol", 200),
    "html_502": ("provider", 502),
    "not_json": ("protocol", 200),
    "wrong_json": ("protocol", 200),
    "empty": ("protocol", 200),
    "gzip_broken": ("protocol", 200),
    "redirect_foreign": ("connection", 307),
}
ANSWERED = ("ok", "gzip", "redirect", "drip")
RETRYABLE = ("timeout", "rate_limit", "provider", "protocol", "overloaded")


def ask(base: str, wire: str, streamed: bool, *, engine: str, **more):
    """One call over this wire to the server at `base`; the reply, or the call's error."""
    model, suffix = WIRES[wire]
    options = {
        "api_base": base + suffix,
        "api_key": KEY,
        "engine": engine,
        "retry": 0,
        "timeout": 60,
        **more,
    }
    messages = [{"role": "user", "content": PROMPT}]
    if not streamed:
        return omni_bridge.chat(messages, model, max_tokens=50, **options)
    with omni_bridge.stream_sync(messages, model, max_tokens=50, **options) as stream:
        for _ in stream:
            pass
        return stream.reply()
