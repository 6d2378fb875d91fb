"""What is generated from the agent's schemas, rust/agent/schema/*.json, which come from its Rust types.

python/omni_bridge/agent_types.py    for Python
rust/agent/schema/events.ts          for TypeScript
docs/reference/agent-events.md       for people

python tools/gen_agent_types.py --write   writes them
python tools/gen_agent_types.py --check   exits 1 with a diff and the mending command if one is stale
"""

from __future__ import annotations

import argparse
import difflib
import json
import keyword
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

ROOT = Path(__file__).resolve().parent.parent
SCHEMAS = ROOT / "rust/agent/schema"
MEND = "python tools/gen_agent_types.py --write"
Schema = dict[str, Any]


def load(name: str) -> Schema:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


def variants(events: Schema) -> list[tuple[str, Schema, Schema]]:
    """(event_type, the variant, its payload), in the order of the protocol."""
    return [
        (one["properties"]["event_type"]["const"], one, one["properties"]["payload"])
        for one in events["$defs"]["AgentEvent"]["oneOf"]
    ]


def class_name(event_type: str) -> str:
    """`agent.turn.started` → `AgentTurnStarted`."""
    return "".join(word.capitalize() for word in event_type.replace("_", ".").split("."))


def says(schema: Schema) -> str:
    return schema.get("description", "").strip()


def words(schema: Schema) -> list[str] | None:
    """The words of a definition that is nothing but a closed set of them."""
    found = [one.get("const") for one in schema.get("oneOf", [])] or schema.get("enum", [])
    found = found or ([schema["const"]] if isinstance(schema.get("const"), str) else [])
    return found if found and all(isinstance(word, str) for word in found) else None


def tags(schema: Schema) -> list[tuple[str, Schema]]:
    """The variants of an object that a field of one word tells apart: (the word, the variant)."""
    found: list[tuple[str, Schema]] = []
    for one in schema.get("oneOf", []):
        consts = [field["const"] for field in one.get("properties", {}).values() if "const" in field]
        if consts:
            found.append((consts[0], one))
    return found


def plain(schema: Schema) -> bool:
    return schema.get("type") == "object" and "properties" in schema


class Words:
    """How a language writes a type."""

    none = ""
    any = ""
    scalars: ClassVar[dict[str, str]] = {}

    def literal(self, word: str) -> str:
        raise NotImplementedError

    def union(self, options: list[str]) -> str:
        raise NotImplementedError

    def listed(self, item: str) -> str:
        raise NotImplementedError

    def mapped(self, item: str) -> str:
        raise NotImplementedError

    def write(self, schema: Any) -> str:
        if isinstance(schema, bool) or not schema:
            return self.any
        if "x-contract" in schema:
            return f"Contract{schema['x-contract']}"
        if "$ref" in schema:
            return schema["$ref"].rsplit("/", 1)[1]
        if "const" in schema:
            return self.literal(schema["const"])
        if "enum" in schema:
            return self.union([self.none if word is None else self.literal(word) for word in schema["enum"]])
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self.union([self.write(one) for one in schema[key]])
        kinds = schema.get("type")
        if isinstance(kinds, list):
            return self.union([self.write({**schema, "type": kind}) for kind in kinds])
        if kinds == "array":
            return self.listed(self.write(schema.get("items", True)))
        if kinds == "object":
            return self.mapped(self.write(schema.get("additionalProperties", True)))
        return self.scalars.get(kinds or "", self.any)


class Python(Words):
    none = "None"
    any = "Any"
    scalars: ClassVar[dict[str, str]] = {
        "string": "str",
        "integer": "int",
        "number": "float",
        "boolean": "bool",
        "null": "None",
    }

    def literal(self, word: str) -> str:
        return f'Literal["{word}"]'

    def union(self, options: list[str]) -> str:
        literals = [one[len("Literal[") : -1] for one in options if one.startswith("Literal[")]
        others = [one for one in options if not one.startswith("Literal[")]
        joined = [f"Literal[{', '.join(literals)}]"] if literals else []
        return " | ".join(dict.fromkeys(joined + others))

    def listed(self, item: str) -> str:
        return f"list[{item}]"

    def mapped(self, item: str) -> str:
        return f"dict[str, {item}]"


class TypeScript(Words):
    none = "null"
    any = "unknown"
    scalars: ClassVar[dict[str, str]] = {
        "string": "string",
        "integer": "number",
        "number": "number",
        "boolean": "boolean",
        "null": "null",
    }

    def literal(self, word: str) -> str:
        return f'"{word}"'

    def union(self, options: list[str]) -> str:
        return " | ".join(dict.fromkeys(options))

    def listed(self, item: str) -> str:
        return f"({item})[]" if " | " in item else f"{item}[]"

    def mapped(self, item: str) -> str:
        return f"Record<string, {item}>"


# ------------------------------------------------------------------------------------------------- Python

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


def event_of(document: Mapping[str, Any]) -> AgentEvent:
    """The event that a document is.

    Raises:
        ValueError: The document is of an event that this version does not know, or is none.
    """
    kind = document.get("event_type")
    event = _CLASSES.get(kind) if isinstance(kind, str) else None
    if event is None or not isinstance(document.get("payload"), dict):
        raise ValueError(f"{kind!r} is no event that this version knows; upgrade omni_bridge to read it")
    names = %s
    return cast("AgentEvent", event(**{name: document.get(name) for name in names}))
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


def contract_types(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "x-contract" in schema:
            yield schema["x-contract"]
        for value in schema.values():
            yield from contract_types(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from contract_types(value)


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


# --------------------------------------------------------------------------------------------- TypeScript

TS_HEAD = """\
// The events, ops and configuration of an agent, as types.
// Written by tools/gen_agent_types.py from rust/agent/schema; mend it with: make fix

"""


def ts_comment(text: str, indent: str = "") -> str:
    text = " ".join(text.split()).replace("*/", "* /")
    return f"{indent}/** {text} */\n" if text else ""


def ts_interface(name: str, schema: Schema, ts: TypeScript, text: str = "", base: str = "") -> str:
    required = set(schema.get("required", []))
    out = ts_comment(text or says(schema)) + f"export interface {name}{base} {{\n"
    for key, field in schema.get("properties", {}).items():
        mark = "" if key in required else "?"
        out += ts_comment(says(field) if isinstance(field, dict) else "", "  ")
        out += f"  {key}{mark}: {ts.write(field)};\n"
    if schema.get("additionalProperties") is True:
        out += "  [other: string]: unknown;\n"
    return out + "}\n\n"


def write_typescript(events: Schema, config: Schema) -> str:
    ts = TypeScript()
    out = [TS_HEAD]
    out.extend(
        f"/** A document of omni_bridge's contract: {name} in python/omni_bridge/schema.json. */\n"
        f"export type Contract{name} = Record<string, unknown>;\n\n"
        for name in sorted(set(contract_types(events)))
    )
    for name, one in [*events["$defs"].items(), *config["$defs"].items()]:
        if name == "AgentEvent":
            continue
        closed = words(one)
        if closed:
            out.append(
                ts_comment(says(one))
                + f"export type {name} = {ts.union([ts.literal(w) for w in closed])};\n\n"
            )
        elif plain(one):
            out.append(ts_interface(name, one, ts))
        else:
            shapes = [(class_name(word), shape) for word, shape in tags(one)]
            shapes = shapes or [("Full", shape) for shape in one.get("anyOf", [])]
            options: list[str] = []
            for suffix, shape in shapes:
                if plain(shape):
                    options.append(name + suffix)
                    out.append(ts_interface(name + suffix, shape, ts))
                else:
                    options.append(ts.write(shape))
            out.append(ts_comment(says(one)) + f"export type {name} = {ts.union(options)};\n\n")
    envelope = events["$defs"]["AgentEvent"]
    text = "What every event has beside its type and its payload."
    out.append(ts_interface("Envelope", envelope, ts, text))
    names: list[str] = []
    for event_type, variant, payload in variants(events):
        name = class_name(event_type)
        names.append(name)
        if "$ref" in payload:
            out.append(f"export type {name}Payload = {ts.write(payload)};\n\n")
        elif payload.get("properties"):
            out.append(ts_interface(f"{name}Payload", payload, ts, f"What `{event_type}` says."))
        else:
            out.append(f"export type {name}Payload = Record<string, never>;\n\n")
        out.append(
            ts_comment(says(variant)) + f"export interface {name} extends Envelope {{\n"
            f'  event_type: "{event_type}";\n  payload: {name}Payload;\n}}\n\n'
        )
    out.append(ts_comment("Any event; `event_type` tells them apart."))
    out.append("export type AgentEvent =\n" + "\n".join(f"  | {name}" for name in names) + ";\n\n")
    out.append('export type EventType = AgentEvent["event_type"];\n')
    return "".join(out)


# -------------------------------------------------------------------------------------------------- page

PAGE_HEAD = """\
# Events of an agent

<!-- Written by tools/gen_agent_types.py from rust/agent/src/protocol.rs; mend it with: make fix -->

What a run says, the same in Rust, Python, TypeScript, over HTTP and in the session's log. JSON Schema:
[`rust/agent/schema/events.json`](../../rust/agent/schema/events.json); types:
[`events.ts`](../../rust/agent/schema/events.ts), `omni_bridge.agent_types`.

"""


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def shown(schema: Schema, ts: TypeScript) -> str:
    if "x-contract" in schema:
        return f"contract's {schema['x-contract']}"
    return f"`{cell(ts.write(schema))}`"


def table(schema: Schema, ts: TypeScript) -> str:
    rows = ["| field | type | |", "|---|---|---|"]
    required = set(schema.get("required", []))
    for key, field in schema.get("properties", {}).items():
        mark = "" if key in required else "?"
        rows.append(
            f"| `{key}{mark}` | {shown(field, ts)} | {cell(says(field) if isinstance(field, dict) else '')} |"
        )
    return "\n".join(rows) + "\n\n"


def write_page(events: Schema) -> str:
    ts = TypeScript()
    envelope = events["$defs"]["AgentEvent"]
    out = [PAGE_HEAD, says(envelope) + "\n\n## The envelope\n\n", table(envelope, ts)]
    out.append("Beside these, `event_type` names what happened and `payload` holds its fields. ")
    out.append("A field with `?` may be absent.\n\n## The events\n\n| event | stored | |\n|---|---|---|\n")
    for event_type, variant, _ in variants(events):
        stored = "yes" if variant["x-durable"] else "no"
        out.append(f"| `{event_type}` | {stored} | {cell(says(variant))} |\n")
    out.append("\n## Their payloads\n\n")
    for event_type, _, payload in variants(events):
        out.append(f"### `{event_type}`\n\n")
        if "$ref" in payload:
            out.append(f"[`{ts.write(payload)}`](#{ts.write(payload).lower()})\n\n")
        elif payload.get("properties"):
            out.append(table(payload, ts))
        else:
            out.append("No fields.\n\n")
    out.append("## What a front end sends\n\n" + says(events["$defs"]["Op"]) + "\n\n")
    for word, shape in tags(events["$defs"]["Op"]):
        out.append(f"### `{word}`\n\n{says(shape)}\n\n" + table(shape, ts))
    out.append("## Types\n\n")
    for name, one in events["$defs"].items():
        if name in {"AgentEvent", "Op"}:
            continue
        out.append(f"### {name}\n\n{says(one)}\n\n")
        if plain(one):
            out.append(table(one, ts))
            continue
        rows = "".join(f"| `{word}` | {cell(says(shape))} |\n" for word, shape in named(one))
        out.append(f"| word | |\n|---|---|\n{rows}\n")
        for word, shape in tags(one):
            if len(shape["properties"]) > 1:
                out.append(f"With `{word}`:\n\n" + table(shape, ts))
    return "".join(out).rstrip() + "\n"


def named(schema: Schema) -> list[tuple[str, Schema]]:
    return tags(schema) or [(one["const"], one) for one in schema.get("oneOf", [])]


def outputs() -> dict[Path, str]:
    events, config = load("events.json"), load("config.json")
    return {
        ROOT / "python/omni_bridge/agent_types.py": write_python(events, config),
        SCHEMAS / "events.ts": write_typescript(events, config),
        ROOT / "docs/reference/agent-events.md": write_page(events),
    }


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--write", action="store_true")
    write: bool = parser.parse_args().write
    stale = 0
    for path, new in outputs().items():
        if write:
            path.write_text(new, encoding="utf-8")
            continue
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old != new:
            stale += 1
            name = str(path.relative_to(ROOT))
            diff = difflib.unified_diff(
                old.splitlines(), new.splitlines(), name, "the schema", lineterm="", n=2
            )
            print("\n".join(diff))
            print(f"gen_agent_types: {name} is not what the schema gives; mend it with: {MEND}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
