"""The golden documents of the contract as plain data; tools/gen_vectors.py writes them to tests/vectors."""

from __future__ import annotations

from typing import Any

Doc = dict[str, Any]

VECTORS: dict[str, Doc] = {}

PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
# Opaque proofs as providers give them: base64 with everything that base64 has, and one that is no base64.
SIGNATURE = "ErUBCkYIBRgCIkD+/8gxh3Q0v9kZ2w1b7pQnH5y0Jm4sR6tUoX1cV8aE3dF=="
ENCRYPTED = "gAAAAABm-_s3cr3t.blob~with=every+sign/of%the|wire"
# What breaks careless programs: see the comments.
UNICODE = (
    "\x00"  # NUL ends a C string
    "\x01\x1b[31m\x7f\x85"  # control characters, an escape sequence, C1
    "\ufeff"  # a byte order mark that is text here
    "\u2028\u2029"  # line ends of JavaScript, not of JSON
    "\r\n\r\n\t\\\"/'"  # line ends of SSE, and what JSON escapes
    "e\u0301 \u1112\u1161\u11ab"  # combining marks, Jamo
    "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466"  # joined emoji
    "\U0001f3f3\ufe0f\u200d\U0001f308"
    "\U0001f1e9\U0001f1ea"  # a flag of two letters
    "\u202eabc\u202c\u200f"  # right to left
    "\ufffe\uffff\U0001ffff\U0010ffff"  # noncharacters, and the last of all
    "\ufffd"  # the replacement character itself
    "I\u0307\u0131\u1e9e\ufb01"  # case folding changes lengths
    "data: [DONE]\n\nevent: done\n"  # looks like the wire
    '{"type":"done"}'
)


def vector(name: str, kind: str, about: str, **rest: Any) -> None:
    assert name not in VECTORS, name
    VECTORS[name] = {"kind": kind, "about": about, **rest}


# ------------------------------------------------------------------------------------------------- requests

USER: Doc = {"role": "user", "content": "Hello"}


def request(
    name: str, about: str, *, expect: Doc | None = None, refused: Doc | None = None, **fields: Any
) -> None:
    document = {"model": "openai/gpt-5", "messages": [USER], **fields}
    rest: Doc = {"document": document}
    if expect is not None:
        rest["expect"] = {"model": "openai/gpt-5", "messages": [USER], **expect}
    if refused is not None:
        rest["refused"] = refused
    vector(f"request-{name}", "request", about, **rest)


FUNCTION_TOOL: Doc = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place",
        "parameters": {
            "type": "object",
            "properties": {
                "place": {"type": "string"},
                "days": {"type": "integer", "maximum": 18446744073709551615},
            },
            "required": ["place"],
            "additionalProperties": False,
        },
        "strict": True,
    },
    "cache_control": {"type": "ephemeral", "ttl": "1h"},
}

request("plain", "the smallest request")
request(
    "every-field",
    "every field of a request comes back as it was",
    tools=[FUNCTION_TOOL],
    tool_choice={"type": "function", "function": {"name": "get_weather"}},
    parallel_tool_calls=False,
    temperature=0.30000000000000004,
    top_p=1.0,
    top_k=40,
    max_tokens=9007199254740993,
    stop=["\n\n", "END"],
    seed=-9223372036854775808,
    n=1,
    logprobs=True,
    top_logprobs=5,
    frequency_penalty=-2.0,
    presence_penalty=1e-9,
    response_format={
        "type": "json_schema",
        "json_schema": {"name": "x", "schema": {"type": "object"}, "strict": True},
    },
    modalities=["text", "audio"],
    service_tier="flex",
    user="user-1",
    reasoning_effort="minimal",
    reasoning_budget_tokens=0,
    timeout={"connect": 0.5, "first_event": 30.0, "idle": 10.0, "total": 600.0},
    fallbacks=["anthropic/claude-sonnet-4-5", {"model": "groq/llama", "temperature": 0.0}],
    fallback_mid_stream=True,
    retry={"max_retries": 3, "max_wait": 20.0},
    budget={"tokens": 100000, "usd": 0.5},
    api_base="http://127.0.0.1:1/v1",
    api_key="made-up-key",
    headers={"X-Title": "a title"},
    provider_options={"openai": {"store": False, "nested": {"deep": [None, 1, {"x": True}]}}, "groq": {}},
    metadata={"ticket": "4711", "empty": None},
    labels={"team": "a", "n": 1},
    engine="litellm",
)
request(
    "short-forms",
    "one number for all of a timeout and a retry, one text for stop, a word for tool_choice",
    timeout=2.5,
    retry=0,
    stop="END",
    tool_choice="required",
    engine="auto",
)
request(
    "nulls",
    "null is absent in what the contract knows, and stays in what it does not know",
    messages=[{"role": "user", "content": "Hello", "name": None, "x_unknown": None}],
    tools=None,
    temperature=None,
    timeout=None,
    metadata={"kept": None},
    expect={
        "messages": [{"role": "user", "content": "Hello", "x_unknown": None}],
        "metadata": {"kept": None},
    },
)
request(
    "roles",
    "every role",
    messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "developer", "content": [{"type": "text", "text": "No jokes."}]},
        {"role": "user", "content": "Hi", "name": "ann"},
        {"role": "assistant", "content": "Hello", "refusal": "no"},
        {"role": "tool", "tool_call_id": "call_1", "content": "42"},
        {"role": "assistant", "content": "The answer is", "prefix": True},
    ],
)
request(
    "parts",
    "several parts, with an image, sound and files, and marks for a cache",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "What do you see and hear?", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}", "detail": "low"}},
                {"type": "image_url", "image_url": {"url": "https://example.com/a.png?x=1&y=%20"}},
                {"type": "input_audio", "input_audio": {"data": "UklGRg==", "format": "wav"}},
                {
                    "type": "file",
                    "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBERg=="},
                },
                {"type": "file", "file": {"file_id": "file-1", "format": "application/pdf"}},
                {"type": "text", "text": ""},
            ],
            "cache_control": {"type": "ephemeral"},
        }
    ],
)
request(
    "unknown-keys",
    "what the contract does not know is kept on messages, parts, tools, calls and their functions",
    messages=[
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a", "x_new": {"a": [1, 2.5, None]}},
                {"type": "x_hologram", "x_hologram": {"z": 1}, "signature": "s"},
            ],
            "x_new": [],
            "extra": {"openai": {"x": 1}, "gemini": {"y": {}}},
        },
        {
            "role": "assistant",
            "content": None,
            "audio": {"id": "audio_1"},
            "tool_calls": [
                {
                    "id": "call_1",
                    "type": "function",
                    "function": {"name": "f", "arguments": "{}", "x_new": "y"},
                    "index": 0,
                    "extra": {"gemini": {"thought": True}},
                }
            ],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "ok", "artifact": {"raw": [0]}},
    ],
    tools=[{**FUNCTION_TOOL, "x_new": True, "extra": {"anthropic": {"defer_loading": True}}}],
    expect={
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "a", "x_new": {"a": [1, 2.5, None]}},
                    {"type": "x_hologram", "x_hologram": {"z": 1}, "signature": "s"},
                ],
                "x_new": [],
                "extra": {"openai": {"x": 1}, "gemini": {"y": {}}},
            },
            {
                "role": "assistant",
                "audio": {"id": "audio_1"},
                "tool_calls": [
                    {
                        "id": "call_1",
                        "type": "function",
                        "function": {"name": "f", "arguments": "{}", "x_new": "y"},
                        "index": 0,
                        "extra": {"gemini": {"thought": True}},
                    }
                ],
            },
            {"role": "tool", "tool_call_id": "call_1", "content": "ok", "artifact": {"raw": [0]}},
        ],
        "tools": [{**FUNCTION_TOOL, "x_new": True, "extra": {"anthropic": {"defer_loading": True}}}],
    },
)
request(
    "tools",
    "function, custom and provider tools; calls whose arguments are valid JSON, odd JSON and none",
    tools=[
        FUNCTION_TOOL,
        {
            "type": "custom",
            "custom": {"name": "sql", "format": {"type": "grammar", "definition": "start: /.*/"}},
        },
        {
            "type": "provider",
            "provider": "anthropic",
            "data": {"type": "web_search_20250305", "name": "web_search", "max_uses": 2},
        },
    ],
    messages=[
        USER,
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [
                {
                    "id": "1",
                    "type": "function",
                    "function": {"name": "get_weather", "arguments": '{"place": "Köln"}'},
                },
                {
                    "id": "2",
                    "type": "function",
                    "function": {"name": "f", "arguments": ' {"b":1.0,\n"a" : 1e2,"b":2} '},
                },
                {"id": "3", "type": "function", "function": {"name": "f", "arguments": '{"place": "Par'}},
                {"id": "4", "type": "function", "function": {"name": "f", "arguments": ""}},
                {"id": "5", "type": "function", "function": {"name": "f", "arguments": "[1, null]"}},
                {"id": "6", "type": "custom", "custom": {"name": "sql", "input": "SELECT '\u00e9' --\n"}},
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "12 °C"},
        {"role": "tool", "tool_call_id": "2", "content": "no such place", "is_error": True},
        {
            "role": "tool",
            "tool_call_id": "3",
            "content": [
                {"type": "text", "text": "a map"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ],
            "is_error": False,
        },
        {"role": "tool", "tool_call_id": "4", "content": ""},
        {"role": "tool", "tool_call_id": "5", "content": []},
        {"role": "tool", "tool_call_id": "6", "content": "1 row"},
    ],
)
ROUND_TRIP: Doc = {
    "role": "assistant",
    "content": [
        {"type": "reasoning", "text": "First I search.", "signature": SIGNATURE},
        {"type": "reasoning", "text": "", "encrypted": ENCRYPTED},
        {"type": "reasoning", "text": "Summary", "id": "rs_1", "encrypted": ENCRYPTED},
        {
            "type": "provider",
            "provider": "anthropic",
            "kind": "server_tool_use",
            "data": {
                "type": "server_tool_use",
                "id": "srvtoolu_1",
                "name": "web_search",
                "input": {"query": "x"},
            },
        },
        {
            "type": "provider",
            "provider": "anthropic",
            "kind": "web_search_tool_result",
            "data": {
                "type": "web_search_tool_result",
                "tool_use_id": "srvtoolu_1",
                "content": [
                    {
                        "type": "web_search_result",
                        "url": "https://example.com",
                        "encrypted_content": ENCRYPTED,
                    }
                ],
            },
        },
        {
            "type": "text",
            "text": "It rains.",
            "annotations": [
                {
                    "type": "url_citation",
                    "url_citation": {
                        "url": "https://example.com",
                        "title": "W",
                        "start_index": 0,
                        "end_index": 9,
                    },
                }
            ],
            "signature": SIGNATURE,
        },
        {"type": "tool_call", "id": "call_1"},
        {"type": "text", "text": "And more."},
        {"type": "tool_call", "id": "call_2"},
    ],
    "tool_calls": [
        {
            "id": "call_1",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"place":"Paris"}'},
            "signature": SIGNATURE,
        },
        {
            "id": "call_2",
            "type": "function",
            "function": {"name": "get_weather", "arguments": '{"place":"Rome"}'},
        },
    ],
}
request(
    "round-trip",
    "an answer that is sent again: reasoning signed and encrypted, server-side tools, citations, marks",
    messages=[
        USER,
        ROUND_TRIP,
        {"role": "tool", "tool_call_id": "call_1", "content": "rain"},
        {"role": "tool", "tool_call_id": "call_2", "content": "sun"},
    ],
)
request(
    "empty-content",
    "an empty text, no text and no parts are three things",
    messages=[
        {"role": "user", "content": ""},
        {"role": "assistant"},
        {"role": "user", "content": []},
        {"role": "user", "content": [{"type": "text", "text": ""}]},
    ],
)
request(
    "unicode",
    "all of Unicode that breaks things, in texts, names, keys and arguments",
    messages=[
        {"role": "user", "content": UNICODE, "name": UNICODE, UNICODE: UNICODE},
        {
            "role": "assistant",
            "content": [{"type": "text", "text": UNICODE, "signature": UNICODE}],
            "tool_calls": [
                {"id": UNICODE, "type": "function", "function": {"name": "f", "arguments": UNICODE}},
            ],
        },
    ],
    user=UNICODE,
    metadata={UNICODE: UNICODE},
)
request(
    "surrogates",
    "lone surrogates become U+FFFD, pairs are a character",
    messages=[
        {"role": "user", "content": "a\ud83d b\udc00 c\ud800\ud800 d\udfff\ud83d\ude00\ud83d"},
        {"role": "user", "content": [{"type": "text", "text": "\udead", "x\ud800": "\\ud800"}]},
    ],
    metadata={"\udbff": "\ud83d\ude00"},
    expect={
        "messages": [
            {"role": "user", "content": "a\ufffd b\ufffd c\ufffd\ufffd d\ufffd\U0001f600\ufffd"},
            {"role": "user", "content": [{"type": "text", "text": "\ufffd", "x\ufffd": "\\ud800"}]},
        ],
        "metadata": {"\ufffd": "\U0001f600"},
    },
)
request(
    "numbers",
    "whole numbers of 64 bits and floats come back as they were",
    provider_options={
        "openai": {
            "numbers": [
                0,
                -1,
                9007199254740993,
                9223372036854775807,
                -9223372036854775808,
                18446744073709551615,
                0.1,
                -0.0,
                1.0,
                1e300,
                5e-324,
                3.141592653589793,
            ]
        }
    },
)
request(
    "megabyte",
    "a message of more than a megabyte, whose characters have 1, 2, 3 and 4 bytes",
    messages=[{"role": "user", "content": {"$repeat": ["a\u00e9\u20ac\U0001f600\n", 110000]}}],
)


def bad(name: str, about: str, starts: str, code: str = "invalid_request", **fields: Any) -> None:
    request(f"bad-{name}", about, refused={"code": code, "starts": starts}, **fields)


bad(
    "unknown-field",
    "a field that does not exist, with a near match",
    'temprature: no such field; did you mean "temperature"',
    temprature=1,
)
bad(
    "other-clients-field",
    "a field of other clients, with its name here",
    'max_completion_tokens: no such field; write "max_tokens"',
    max_completion_tokens=1,
)
bad(
    "nested",
    "the path leads to what is wrong",
    "messages[1].content[1].text: expected a string, got a number",
    messages=[
        USER,
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": 1}]},
    ],
)
bad(
    "role",
    "a role that does not exist",
    "messages[0].role: expected one of",
    messages=[{"role": "robot", "content": "x"}],
)
bad("no-messages", "a conversation of nothing", "messages: at least one message is needed", messages=[])
bad("no-model", "no model", "model: give the model as", model="")
bad(
    "several-answers",
    "more than one answer is valid but not supported",
    "n: only 1 answer",
    code="unsupported",
    n=2,
)
bad(
    "tool-type",
    "a tool of a type that does not exist, with what to write",
    'tools[0].type: expected "function", "custom" or "provider"',
    tools=[{"type": "web_search_20250305", "name": "web_search"}],
)
bad(
    "call-arguments",
    "arguments are text, never an object",
    "messages[0].tool_calls[0].function.arguments: expected a string, got an object",
    messages=[
        {
            "role": "assistant",
            "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": {"a": 1}}}],
        }
    ],
)
bad(
    "timeout",
    "a limit that has passed before it began",
    "timeout.idle: expected a number of seconds above 0",
    timeout={"idle": 0},
)
bad(
    "engine",
    "an engine that does not exist",
    'engine: expected one of "auto", "native", "litellm"',
    engine="nativ",
)

# -------------------------------------------------------------------------------------------------- replies

NO_USAGE: Doc = {
    "input_tokens": None,
    "output_tokens": None,
    "total_tokens": None,
    "cached_input_tokens": None,
    "cache_creation_input_tokens": None,
    "reasoning_tokens": None,
    "server_tool_calls": None,
    "cost_usd": None,
    "raw": None,
}


def usage(**known: Any) -> Doc:
    return {**NO_USAGE, **known}


def reply(**known: Any) -> Doc:
    """A reply with every key; unknown is null."""
    whole: Doc = {
        "content": "",
        "tool_calls": [],
        "reasoning": [],
        "refusal": None,
        "finish_reason": None,
        "finish_reason_raw": None,
        "usage": NO_USAGE,
        "id": None,
        "request_id": None,
        "created": None,
        "model": None,
        "provider": None,
        "engine": None,
        "service_tier": None,
        "logprobs": None,
        "attempts": [],
        "provider_data": None,
        "message": {"role": "assistant", "content": ""},
    }
    assert known.keys() <= whole.keys(), known.keys() - whole.keys()
    return {**whole, **known}


def error(code: str, message: str = "what happened", **known: Any) -> Doc:
    retryable = code in {"timeout", "rate_limit", "provider", "protocol", "connection", "overloaded"}
    whole: Doc = {
        "code": code,
        "message": message,
        "provider": None,
        "model": None,
        "status": None,
        "retryable": retryable,
        "retry_after": None,
        "request_id": None,
    }
    return {**whole, **known}


vector("reply-empty", "reply", "nothing came: every key is there, unknown is null", document=reply())
vector(
    "reply-every-key",
    "reply",
    "every key of a reply comes back as it was",
    document=reply(
        content="It rains.And more.",
        tool_calls=ROUND_TRIP["tool_calls"],
        reasoning=ROUND_TRIP["content"][:3],
        refusal="I will not",
        finish_reason="tool_calls",
        finish_reason_raw="tool_use",
        usage=usage(
            input_tokens=18446744073709551615,
            output_tokens=0,
            total_tokens=7,
            cached_input_tokens=3,
            cache_creation_input_tokens={"5m": 1, "1h": None},
            reasoning_tokens=2,
            server_tool_calls={"web_search": 1},
            cost_usd=0.000123,
            raw={"x": [1, None, {"y": 0.5}]},
        ),
        id="msg_1",
        request_id="req_1",
        created=1700000000,
        model="claude-x",
        provider="anthropic",
        engine="litellm",
        service_tier="standard",
        logprobs={"content": [{"token": "It", "logprob": -0.1, "bytes": [73, 116], "top_logprobs": []}]},
        attempts=[
            {
                "model": "openai/gpt-5",
                "engine": "native",
                "error": error(
                    "rate_limit", status=429, retry_after=1.5, provider="openai", model="openai/gpt-5"
                ),
                "duration_ms": 12,
            },
            {"model": "anthropic/claude-x", "engine": "litellm", "error": None, "duration_ms": None},
        ],
        provider_data={"container": {"id": "c_1"}, "grounding": {"chunks": []}},
        message={**ROUND_TRIP, "refusal": "I will not", "x_unknown": {"kept": None}},
    ),
)
for reason, raw in [
    ("stop", "end_turn"),
    ("length", "MAX_TOKENS"),
    ("tool_calls", "tool_use"),
    ("content_filter", "SAFETY"),
    ("pause", "pause_turn"),
    ("other", "a word of tomorrow"),
]:
    calls = {"tool_calls": ROUND_TRIP["tool_calls"][1:]} if reason == "tool_calls" else {}
    vector(
        f"reply-finish-{reason}",
        "reply",
        f"the finish reason {reason} with its provider's word",
        document=reply(
            content="x",
            finish_reason=reason,
            finish_reason_raw=raw,
            **calls,
            message={"role": "assistant", "content": "x", **calls},
        ),
    )
vector(
    "reply-unicode",
    "reply",
    "all of Unicode that breaks things, in an answer",
    document=reply(
        content=UNICODE,
        refusal=UNICODE,
        message={"role": "assistant", "content": UNICODE, "refusal": UNICODE},
    ),
)

# --------------------------------------------------------------------------------------------------- errors

ERRORS: list[tuple[str, int, int, str, Doc]] = [
    ("invalid_request", 1, 400, "InvalidRequestError", {"status": 422}),
    ("authentication", 2, 401, "AuthenticationError", {"status": 401}),
    ("quota", 3, 402, "QuotaError", {"status": 402}),
    ("permission", 4, 403, "PermissionDeniedError", {"status": 403}),
    ("not_found", 5, 404, "NotFoundError", {"status": 404}),
    ("timeout", 6, 408, "RequestTimeoutError", {}),
    ("context_length", 7, 400, "ContextLengthError", {"status": 413}),
    ("content_filter", 8, 400, "ContentFilterError", {"status": 400}),
    ("rate_limit", 9, 429, "RateLimitError", {"status": 429, "retry_after": 0.25}),
    ("budget", 10, 429, "BudgetError", {}),
    ("provider", 11, 502, "ProviderError", {"status": 500, "retryable": False}),
    ("protocol", 12, 502, "ProtocolError", {"status": 200}),
    ("connection", 13, 502, "ConnectionFailedError", {}),
    ("overloaded", 14, 503, "OverloadedError", {"status": 529, "retry_after": 30.0}),
    ("engine_unavailable", 15, 503, "EngineUnavailableError", {}),
    ("unsupported", 16, 400, "UnsupportedError", {}),
    ("cancelled", 17, 499, "CancelledError", {}),
    ("internal", 18, 500, "InternalError", {}),
]
for code, number, status, python, known in ERRORS:
    named = (
        {"provider": "openai", "model": "openai/gpt-5", "request_id": "req_1"} if "status" in known else {}
    )
    vector(
        f"error-{code.replace('_', '-')}",
        "error",
        f"the error {code} with its number in C, its HTTP status and its class in Python",
        document=error(code, f"what happened: {code}", **named, **known),
        traits={"number": number, "http_status": status, "python": python},
    )
