"""The exceptions: one tree, one class a code, and every field survives dict and pickle."""

from __future__ import annotations

import copy
import pickle
import typing

import omni_bridge
import pytest
from omni_bridge import errors

CLASSES = [getattr(errors, name) for name in errors.__all__ if name.endswith("Error") and name != "OmniError"]
FIELDS = {
    "provider": "openai",
    "model": "openai/gpt-5",
    "status": 418,
    "retryable": True,
    "retry_after": 2.5,
    "request_id": "req_1",
}


def test_every_class_is_under_the_base_and_drawn_in_the_tree():
    assert errors.__doc__ is not None
    for kind in CLASSES:
        assert issubclass(kind, errors.OmniError)
        assert f"── {kind.__name__}" in errors.__doc__, f"draw {kind.__name__} in the docstring of errors.py"
        assert errors.error_for(kind.code) is kind
        assert getattr(omni_bridge, kind.__name__) is kind
    assert len({kind.code for kind in CLASSES}) == len(CLASSES) == 18


def test_an_unknown_code_is_a_key_error_that_names_the_codes():
    with pytest.raises(KeyError, match="rate_limit"):
        errors.error_for("novel")


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.code)
def test_every_field_survives_dict_pickle_and_copy(kind: type[errors.OmniError]):
    error = kind("what happened", **FIELDS)
    document = {"code": kind.code, "message": "what happened", **FIELDS}
    assert error.to_dict() == document
    for again in (
        errors.OmniError.from_dict(document),
        pickle.loads(pickle.dumps(error)),
        copy.copy(error),
        copy.deepcopy(error),
    ):
        assert type(again) is kind
        assert again.to_dict() == document
        assert str(again) == "what happened"


def test_what_was_added_to_an_exception_survives_pickling():
    error = errors.RateLimitError("x")
    error.note = "added"  # type: ignore[attr-defined]
    again = pickle.loads(pickle.dumps(error))
    assert again.note == "added"
    assert again.to_dict() == error.to_dict()


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.code)
def test_a_short_document_is_as_retryable_as_its_code(kind: type[errors.OmniError]):
    error = errors.OmniError.from_dict({"code": kind.code, "message": "x"})
    assert error.retryable is kind.retryable_by_default
    assert {
        value for key, value in error.to_dict().items() if key not in {"code", "message", "retryable"}
    } == {None}


def test_a_code_of_tomorrow_is_still_an_exception():
    error = errors.OmniError.from_dict({"code": "novel", "message": "x", "status": 500})
    assert isinstance(error, errors.InternalError)
    assert "novel" in str(error)
    assert error.status == 500


def test_the_repr_shows_what_is_known_and_nothing_else():
    assert repr(errors.QuotaError("no credit")) == "QuotaError('no credit')"
    assert repr(errors.QuotaError("no credit", status=402, retryable=True)) == (
        "QuotaError('no credit', status=402, retryable=True)"
    )


def test_the_annotations_of_the_fields_hold():
    hints = typing.get_type_hints(errors.OmniError)
    assert set(FIELDS) < set(hints)
