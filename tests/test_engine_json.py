"""What becomes of Python objects on their way into a request, and what is said of those that are not JSON."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any

import omni_bridge
import pytest
from omni_bridge import _engine
from pydantic import BaseModel

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Callable[[Any], Any]:
    """`seen(value)` sends a value as metadata and gives what the engine's handler gets."""
    got: list[Any] = []

    async def keep(document: dict[str, Any], sink: Any) -> None:
        got.append(document["request"])
        sink.emit({"type": "start", "model": "m", "provider": "p", "engine": "litellm"})
        sink.emit({"type": "finish", "finish_reason": "stop"})

    monkeypatch.setitem(_engine.HANDLERS, "chat", keep)

    def send(value: Any) -> Any:
        omni_bridge.chat([{"role": "user", "content": "x"}], "openai/m", metadata={"value": value})
        return got.pop()["metadata"]["value"]

    return send


class Colour(str, enum.Enum):
    RED = "red"


class Number(enum.IntEnum):
    SEVEN = 7


class Text(str):
    __slots__ = ()


class Model(BaseModel):
    name: str
    inner: dict[str, Any] = {}
    nothing: None = None


class HasToDict:
    def to_dict(self) -> dict[str, Any]:
        return {"as": "dict"}


@pytest.mark.parametrize(
    ("value", "becomes"),
    [
        (None, None),
        (True, True),
        (-7, -7),
        (2**63 - 1, 2**63 - 1),
        (2**64 - 1, 2**64 - 1),
        (-(2**63), -(2**63)),
        (0.1, 0.1),
        (1e300, 1e300),
        (5e-324, 5e-324),
        ("", ""),
        ('é🙂\0\x1f"\\\u2028', 'é🙂\0\x1f"\\\u2028'),
        ((1, (2,)), [1, [2]]),
        ({"z": 1, "a": {"": []}}, {"z": 1, "a": {"": []}}),
        (Colour.RED, "red"),
        (Number.SEVEN, 7),
        (Text("text"), "text"),
        (Model(name="n", inner={"kept": None}), {"name": "n", "inner": {"kept": None}}),
        ([HasToDict()], [{"as": "dict"}]),
        # A lone surrogate is no character; two that make a pair are one.
        ("a\ud800b", "a\ufffdb"),
        ("\udc00", "\ufffd"),
        ("\ud83d\ude42", "🙂"),
        ({"key\ud800": 1}, {"key\ufffd": 1}),
    ],
    ids=ascii,
)
def test_values_arrive(value: Any, becomes: Any, seen: Callable[[Any], Any]):
    arrived = seen(value)
    assert arrived == becomes
    assert type(arrived) is type(becomes)
    if isinstance(becomes, dict):
        assert list(arrived) == list(becomes), "the keys' order"


@pytest.mark.parametrize(
    ("value", "says"),
    [
        ({"a": [1, {"b": object()}]}, "metadata.value.a[1].b"),
        ({1: "x"}, "int"),
        (b"bytes", "bytes"),
        ({1, 2}, "set"),
        (float("nan"), "NaN"),
        (float("-inf"), "inf"),
        (Model, "not JSON"),
    ],
    ids=ascii,
)
def test_what_is_not_json_is_told_with_its_path(value: Any, says: str, seen: Callable[[Any], Any]):
    with pytest.raises(omni_bridge.InvalidRequestError) as raised:
        seen(value)
    assert "metadata.value" in str(raised.value)
    assert says in str(raised.value)


def test_a_value_that_contains_itself_is_an_error(seen: Callable[[Any], Any]):
    cycle: list[Any] = []
    cycle.append({"again": cycle})
    with pytest.raises(omni_bridge.InvalidRequestError, match="contain itself"):
        seen(cycle)


def test_nesting_is_bounded_and_what_is_within_the_bound_arrives(seen: Callable[[Any], Any]):
    def nested(depth: int) -> Any:
        value: Any = "core"
        for _ in range(depth):
            value = [value]
        return value

    assert seen(nested(90)) == nested(90)
    for depth in (120, 100_000):
        with pytest.raises(omni_bridge.InvalidRequestError, match="nested deeper"):
            seen(nested(depth))


def test_an_object_whose_conversion_fails_is_told_without_its_text(seen: Callable[[Any], Any]):
    class Broken:
        def to_dict(self) -> None:
            raise RuntimeError("no dict today")

    with pytest.raises(omni_bridge.InvalidRequestError, match="Broken"):
        seen(Broken())
