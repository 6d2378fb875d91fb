"""JSON from outside, narrowed to what it has to be."""

from __future__ import annotations

from typing import Any, cast

__all__ = ["Json", "array", "obj"]

Json = dict[str, Any]


def obj(value: object) -> Json:
    """The value if it is a JSON object, else an empty one.

    >>> obj({"a": 1}), obj("a")
    ({'a': 1}, {})
    """
    return cast("Json", value) if isinstance(value, dict) else {}


def array(value: object) -> list[Any]:
    """The value if it is a JSON array, else an empty one."""
    return cast("list[Any]", value) if isinstance(value, list) else []
