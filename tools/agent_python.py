"""The agent's schemas as Python types: for gen_agent_types.py."""

from __future__ import annotations

import keyword
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from agent_schema import Python, Schema, class_name, contract_types, plain, says, tags, variants, words

ROOT = Path(__file__).resolve().parent.parent

PYTHON_HEAD = '''\
"""The events, ops and configuration of an agent, as types.

Written by tools/gen_agent_types.py from rust/agent/schema; mend it with: make fix

An event as it is written (`omni run --json`, SSE, a log) is a dict of one of the `…Dict` types, told apart by
`event_type`; `event_of` makes the frozen class of it. A `Contract…` is a document of `omni_bridge.types`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypedDict, cast

if TYPE_CHECKING:
    from collections.abc import Mapping

'''

PYTHON_TAIL = '''
_CLASSES: dict[str, Any] = {
%s
}

ENVELOPE = %s
"""The fields of every event, in the order in which they are written."""


def event_of(document: Mapping[str, Any]) -> AgentEvent:
    """The event that a document is.

    Raises:
        ValueError: The document is of an event that this version does not know, or is none.
    """
    kind = document.get("event_type")
    event = _CLASSES.get(kind) if isinstance(kind, str) else None
    if event is None or not isinstance(document.get("payload"), dict):
        raise ValueError(f"{kind!r} is no event that this version knows; upgrade omni_bridge to read it")
    return cast("AgentEvent", event(**{name: document.get(name) for name in ENVELOPE}))
'''


def docstring(text: str, indent: str = "    ") -> str:
    text = (text or "Without fields.").replace("\\", "\\\\").replace('"""', "'''")
    first, *rest = textwrap.wrap(text, 110 - len(indent) - 7, break_long_words=False)
    if not rest:
        return f'{indent}"""{first}"""\n'
    # The summary stands on the first line: its first sentence, where that is short enough.
    summary, dot, more = text.partition(". ")
    if not dot or len(summary) > 95:
        return f'{indent}"""{first}\n\n' + "\n".join(f"{indent}{line}" for line in rest) + f'\n{indent}"""\n'
    lines = textwrap.wrap(more.replace("\n\n", " "), 110 - len(indent), break_long_words=False)
    return f'{indent}"""{summary}.\n\n' + "\n".join(f"{indent}{line}" for line in lines) + f'\n{indent}"""\n'


def typed_dict(name: str, schema: Schema, python: Python, text: str = "") -> str:
    """One class, or two if some fields may be absent: `NotRequired` came with Python 3.11."""
    required = set(schema.get("required", []))
    fields = schema.get("properties", {})
    must = {key: field for key, field in fields.items() if key in required}
    may = {key: field for key, field in fields.items() if key not in required}
    body = lambda some: "".join(f"    {key}: {python.write(field)}\n" for key, field in some.items())  # noqa: E731
    text = text or says(schema)
    if any(keyword.iskeyword(key) for key in fields):
        # A class cannot have such a field.
        body_of = "".join(f'"{key}": {python.write(field)}, ' for key, field in fields.items())
        return f'{name} = TypedDict("{name}", {{{body_of}}})\n"""{text}"""\n\n\n'
    if not may:
        return f"class {name}(TypedDict):\n{docstring(text)}" + (f"\n{body(must)}" if must else "") + "\n\n"
    if not must:
        return f"class {name}(TypedDict, total=False):\n{docstring(text)}\n{body(may)}\n\n"
    base = f"_{name}Always"
    return (
        f"class {base}(TypedDict):\n{body(must)}\n\n"
        f"class {name}({base}, total=False):\n{docstring(text)}\n{body(may)}\n\n"
    )


def python_definitions(schema: Schema, python: Python, skip: set[str]) -> Iterator[str]:
    later: list[str] = []
    for name, one in schema["$defs"].items():
        if name in skip:
            continue
        closed = words(one)
        if closed:
            joined = ", ".join(f'"{word}"' for word in closed)
            yield f'{name}: TypeAlias = Literal[{joined}]\n"""{says(one)}"""\n\n'
        elif plain(one):
            later.append(typed_dict(name, one, python))
        elif tags(one):
            names = [f"{name}{class_name(word)}" for word, _ in tags(one)]
            later.extend(
                typed_dict(variant, shape, python)
                for variant, (_, shape) in zip(names, tags(one), strict=True)
            )
            later.append(f'{name}: TypeAlias = {" | ".join(names)}\n"""{says(one)}"""\n\n\n')
        else:
            options: list[str] = []
            for shape in one.get("anyOf", []):
                if plain(shape):
                    options.append(f"{name}Full")
                    later.append(typed_dict(f"{name}Full", shape, python))
                else:
                    options.append(python.write(shape))
            later.append(f'{name}: TypeAlias = {" | ".join(options)}\n"""{says(one)}"""\n\n\n')
    yield "\n"
    yield from later


def write_python(events: Schema, config: Schema) -> str:
    python = Python()
    envelope = events["$defs"]["AgentEvent"]
    contract = sorted(set(contract_types(events)))
    out = [PYTHON_HEAD]
    out.extend(f"Contract{name}: TypeAlias = dict[str, Any]\n" for name in contract)
    out.append("\n")
    out.extend(python_definitions(events, python, {"AgentEvent"}))
    out.extend(python_definitions(config, python, set()))
    kinds = [event_type for event_type, _, _ in variants(events)]
    out.append("EventType: TypeAlias = Literal[\n" + "".join(f'    "{kind}",\n' for kind in kinds) + "]\n")
    out.append('"""Every `event_type`, in the order of the protocol."""\n\n\n')
    head = {key: envelope["properties"][key] for key in envelope["properties"]}
    out.append(
        typed_dict(
            "_Envelope", {**envelope, "properties": head}, python, "What every event has beside its payload."
        )
    )
    for event_type, variant, payload in variants(events):
        name = class_name(event_type)
        if "$ref" in payload:
            out.append(f"{name}Payload: TypeAlias = {python.write(payload)}\n\n\n")
        else:
            out.append(typed_dict(f"{name}Payload", payload, python, f"What `{event_type}` says."))
        out.append(f"class {name}Dict(_Envelope):\n{docstring(says(variant))}\n")
        out.append(f'    event_type: Literal["{event_type}"]\n')
        out.append(f"    payload: {name}Payload\n\n\n")
        out.append(f"@dataclass(frozen=True)\nclass {name}:\n{docstring(says(variant))}\n")
        required = set(envelope["required"])
        for key, field in envelope["properties"].items():
            kind = python.write(field)
            absent = "" if key in required or "None" in kind else " | None"
            out.append(f"    {key}: {kind}{absent}\n")
        out.append(f'    event_type: Literal["{event_type}"]\n    payload: {name}Payload\n\n\n')
    names = [class_name(kind) for kind in kinds]
    for union, suffix, text in [
        ("AgentEvent", "", "Any event, as a frozen class; `event_type` tells them apart."),
        ("AgentEventDict", "Dict", "Any event, as it is written."),
    ]:
        joined = " | ".join(f"{name}{suffix}" for name in names)
        out.append(f"{union}: TypeAlias = (\n    {joined}\n)\n")
        out.append(f'"""{text}"""\n\n')
    classes = "\n".join(f'    "{kind}": {name},' for kind, name in zip(kinds, names, strict=True))
    every = ", ".join(f'"{key}"' for key in [*envelope["properties"], "event_type", "payload"])
    out.append(PYTHON_TAIL % (classes, f"({every})"))
    return formatted("".join(out))


def formatted(text: str) -> str:
    """As `ruff format` has it, which the checks ask of every Python file."""
    command = [
        sys.executable,
        "-m",
        "ruff",
        "format",
        "--stdin-filename",
        "python/omni_bridge/agent_types.py",
        "-",
    ]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, cwd=ROOT, check=False)
    if ran.returncode != 0:
        raise SystemExit(f"gen_agent_types: ruff format: {ran.stderr.strip()}")
    return ran.stdout
