"""Every closed set of the contract is the same in types.py, schema.json, errors.py, the native module and C.

The Rust enums against schema.json: rust/core/tests/drift.rs.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest
from omni_bridge import _native, errors, types

SETS: dict[str, Any] = {
    "codes": types.ErrorCode,
    "event_types": types.EventType,
    "finish_reasons": types.FinishReason,
    "roles": types.Role,
}


@pytest.fixture(scope="module")
def schema(root: Path) -> dict[str, Any]:
    return json.loads((root / "python/omni_bridge/schema.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("tool", ["gen_schema", "gen_vectors"])
def test_what_is_generated_is_fresh(root: Path, tool: str):
    done = subprocess.run(
        [sys.executable, f"tools/{tool}.py", "--check"], cwd=root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_stale_schema_is_told_with_a_diff_and_what_mends_it(root: Path, tmp_path: Path):
    for name in ("types.py", "errors.py"):
        (tmp_path / "python/omni_bridge").mkdir(parents=True, exist_ok=True)
        text = (root / "python/omni_bridge" / name).read_text(encoding="utf-8")
        (tmp_path / "python/omni_bridge" / name).write_text(
            text.replace('"pause"', '"pose"'), encoding="utf-8"
        )
    (tmp_path / "tools").mkdir()
    for name, home in (
        ("gen_schema.py", "tools"),
        ("_written.py", "tools"),
        ("schema.json", "python/omni_bridge"),
    ):
        (tmp_path / home / name).write_bytes((root / home / name).read_bytes())
    done = subprocess.run(
        [sys.executable, str(tmp_path / "tools/gen_schema.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert re.search(r'^-\s+"pause"', done.stdout, re.MULTILINE)
    assert re.search(r'^\+\s+"pose"', done.stdout, re.MULTILINE)
    assert "mend it with: python tools/gen_schema.py --write" in done.stdout


@pytest.mark.parametrize("name", SETS)
def test_the_native_module_has_the_sets_of_the_models(name: str):
    rust = dict(_native.closed_sets())[name]
    want = list(get_args(SETS[name]))
    assert list(rust) == want, f"types.py is stale; write: Literal{list(rust)}"


def test_the_native_module_has_the_fields_of_a_request():
    rust = dict(_native.closed_sets())["request_fields"]
    assert list(rust) == list(types.Request.model_fields)


def test_the_version_is_one_everywhere(schema: dict[str, Any]):
    assert schema["contract"] == types.CONTRACT == _native.CONTRACT


def test_the_event_models_are_the_event_types():
    union = get_args(get_args(types.Event)[0])
    assert tuple(model.model_fields["type"].default for model in union) == get_args(types.EventType)


def test_the_native_event_classes_are_those_of_the_models():
    union = get_args(get_args(types.Event)[0])
    for model in union:
        native = getattr(_native, model.__name__)
        for name, field in model.model_fields.items():
            assert hasattr(native, field.alias or name) or hasattr(native, name), f"{model.__name__}.{name}"


@pytest.mark.parametrize(
    ("model", "native"),
    [
        (types.Reply, _native.ChatReply),
        (types.Usage, _native.Usage),
        (types.Attempt, _native.Attempt),
        (types.Message, _native.Message),
        (types.ToolCall, _native.ToolCall),
        (types.Function, _native.Function),
        (types.Custom, _native.Custom),
        (types.CacheCreation, _native.CacheCreation),
    ],
    ids=lambda it: it.__name__,
)
def test_the_native_classes_have_the_fields_of_the_models(model: Any, native: Any):
    missing = [name for name in model.model_fields if not hasattr(native, name)]
    assert not missing, f"_native.{native.__name__} lacks {missing}"


def test_the_errors_of_the_schema_are_the_classes(schema: dict[str, Any]):
    assert [error["code"] for error in schema["errors"]] == list(get_args(types.ErrorCode))
    for error in schema["errors"]:
        kind = errors.error_for(error["code"])
        assert error == {
            "code": kind.code,
            "number": kind.number,
            "http_status": kind.http_status,
            "retryable": kind.retryable_by_default,
            "python": kind.__name__,
        }


def test_the_c_header_numbers_the_errors_alike(root: Path):
    header = (root / "rust/capi/include/omni_bridge.h").read_text(encoding="utf-8")
    numbers = {
        name.lower(): int(number) for name, number in re.findall(r"\bOMNI_CODE_(\w+) = (-?\d+)", header)
    }
    assert numbers.pop("ok") == 0
    assert numbers == {code: errors.error_for(code).number for code in get_args(types.ErrorCode)}
    assert re.search(r"#define OMNI_CONTRACT (\d+)", header)[1] == str(types.CONTRACT)


def test_the_stub_spells_the_sets_alike(root: Path):
    stub = (root / "python/omni_bridge/_native.pyi").read_text(encoding="utf-8")
    for name, literal in (
        ("_Engine", types.EngineName),
        ("_FinishReason", types.FinishReason),
        ("_Role", types.Role),
    ):
        found = re.search(rf"^{name}: TypeAlias = Literal\[(.*?)\]", stub, re.MULTILINE | re.DOTALL)
        assert found is not None, name
        assert tuple(re.findall(r'"(\w+)"', found[1])) == get_args(literal), name
