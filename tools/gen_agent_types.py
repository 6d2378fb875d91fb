"""What is generated from the agent's schemas, rust/agent/schema/*.json, which come from its Rust types.

python/omni_bridge/agent_types.py    for Python
rust/agent/schema/events.ts          for TypeScript
docs/reference/agent-events.md       for people

python tools/gen_agent_types.py --write   writes them
python tools/gen_agent_types.py --check   exits 1 with a diff and the mending command if one is stale
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from _written import ROOT, settled, writes
from agent_python import write_python
from agent_schema import Schema, TypeScript, class_name, contract_types, plain, says, tags, variants, words

SCHEMAS = ROOT / "rust/agent/schema"
MEND = "python tools/gen_agent_types.py --write"


def load(name: str) -> Schema:
    return json.loads((SCHEMAS / name).read_text(encoding="utf-8"))


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
    return settled(outputs(), write=writes(__doc__), source="the schema", mend=MEND)


if __name__ == "__main__":
    sys.exit(main())
