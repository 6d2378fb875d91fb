"""The examples in the docstrings of the test servers and of the HTTP door run and say what they show."""

from __future__ import annotations

import doctest
import importlib

import omni_bridge
import pytest


@pytest.mark.parametrize(
    "name",
    [
        "omni_bridge.service",
        "omni_bridge.service_rules",
        "omni_bridge.testing",
        "omni_bridge.testing._http",
        "omni_bridge.testing._json",
        "omni_bridge.testing._plausible",
        "omni_bridge.testing._shapes",
        "omni_bridge.testing.demo",
        "omni_bridge.testing.faults",
        "omni_bridge.testing.replay",
    ],
)
def test_docstring_examples_run(name: str):
    try:
        result = doctest.testmod(importlib.import_module(name))
    finally:
        omni_bridge.configure()  # an app configures the whole process as a server; the next test is none
    assert result.attempted > 0
    assert result.failed == 0
