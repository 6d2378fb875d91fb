"""python/omni_bridge/schema.json, from python/omni_bridge/types.py and errors.py.

    python tools/gen_schema.py --write   writes it
    python tools/gen_schema.py --check   exits 1 with a diff and the mending command if it is stale

The check is a test as well (tests/test_drift.py).
"""

from __future__ import annotations

import importlib.util
import json
import sys
from types import ModuleType
from typing import Any, get_args

from _written import ROOT, settled, writes
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

SCHEMA = ROOT / "python/omni_bridge/schema.json"
MEND = "python tools/gen_schema.py --write"


def load(name: str) -> ModuleType:
    """A module of this checkout by its file: the package need not be built to write its schema."""
    spec = importlib.util.spec_from_file_location(f"_schema_{name}", ROOT / f"python/omni_bridge/{name}.py")
    if spec is None or spec.loader is None:
        raise SystemExit(f"gen_schema: python/omni_bridge/{name}.py cannot be loaded")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def schema() -> dict[str, Any]:
    types, errors = load("types"), load("errors")
    roots = ("Request", "Reply", "Event", "Error", "Message", "Part", "Tool", "ToolCall", "Usage")
    adapters = {name: TypeAdapter[Any](getattr(types, name)) for name in roots}
    refs, shared = TypeAdapter.json_schemas(
        [(name, "validation", adapter) for name, adapter in adapters.items()],
        schema_generator=GenerateJsonSchema,
    )
    defs: dict[str, Any] = dict(shared.get("$defs", {}))
    # The unions have no name of their own for pydantic; ours are part of the contract.
    defs.update({name: refs[name, "validation"] for name in roots if name not in defs})
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The contract of omni_bridge",
        "description": "Written by tools/gen_schema.py from python/omni_bridge/types.py. Validate a document "
        "against one of $defs: Request, Reply, Event, Error.",
        "contract": types.CONTRACT,
        "errors": [
            {
                "code": code,
                "number": errors.error_for(code).number,
                "http_status": errors.error_for(code).http_status,
                "retryable": errors.error_for(code).retryable_by_default,
                "python": errors.error_for(code).__name__,
            }
            for code in get_args(types.ErrorCode)
        ],
        "anyOf": [{"$ref": f"#/$defs/{name}"} for name in ("Request", "Reply", "Event", "Error")],
        "$defs": dict(sorted(defs.items())),
    }


def main() -> int:
    new = json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
    return settled({SCHEMA: new}, write=writes(__doc__), source="types.py", mend=MEND)


if __name__ == "__main__":
    sys.exit(main())
