"""How the agent's schemas are read, and how a language writes their types: for gen_agent_types.py."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

Schema = dict[str, Any]


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


def contract_types(schema: Any) -> Iterator[str]:
    if isinstance(schema, dict):
        if "x-contract" in schema:
            yield schema["x-contract"]
        for value in schema.values():
            yield from contract_types(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from contract_types(value)
