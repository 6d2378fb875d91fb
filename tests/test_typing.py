"""The stub of `_native` says what the module is: classes, attributes, functions, parameters, docstrings."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import Any

import omni_bridge
import pytest
from omni_bridge import _native

STUB = ast.parse((Path(omni_bridge.__file__).parent / "_native.pyi").read_text())
CLASSES = {node.name: node for node in STUB.body if isinstance(node, ast.ClassDef)}
FUNCTIONS = {node.name: node for node in STUB.body if isinstance(node, ast.FunctionDef)}
VALUES = {
    node.target.id
    for node in STUB.body
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
}
ODD = {"__doc__", "__file__", "__loader__", "__name__", "__package__", "__spec__", "__all__"}


def parameters(node: ast.FunctionDef, *, bound: bool) -> list[str]:
    names = [*node.args.posonlyargs, *node.args.args][1 if bound else 0 :]
    return [arg.arg for arg in [*names, *node.args.kwonlyargs]]


def decorators(node: ast.FunctionDef) -> set[str]:
    return {decorator.id for decorator in node.decorator_list if isinstance(decorator, ast.Name)}


def test_the_stub_names_what_the_module_has():
    private = {name for name in VALUES if name.startswith("_") and name != "__version__"}
    stubbed = {*CLASSES, *FUNCTIONS, *VALUES} - private
    assert stubbed == set(vars(_native)) - ODD, "mend python/omni_bridge/_native.pyi"


@pytest.mark.parametrize("name", sorted(FUNCTIONS))
def test_functions_have_the_parameters_of_the_stub(name: str):
    function = getattr(_native, name)
    assert list(inspect.signature(function).parameters) == parameters(FUNCTIONS[name], bound=False)
    assert said(FUNCTIONS[name]) == words(function.__doc__)


@pytest.mark.parametrize("name", sorted(CLASSES))
def test_classes_have_the_members_of_the_stub(name: str):
    native, stub = getattr(_native, name), CLASSES[name]
    methods = {node.name: node for node in stub.body if isinstance(node, ast.FunctionDef)}
    fields = {node.target.id for node in stub.body if isinstance(node, ast.AnnAssign)}
    assert {*methods, *fields} >= {member for member in vars(native) if not member.startswith("_")}
    assert said(stub) == words(native.__doc__)
    for member, node in methods.items():
        if member.startswith("__"):
            continue
        value: Any = inspect.getattr_static(native, member)
        if "property" in decorators(node):
            assert inspect.isgetsetdescriptor(value), member
            assert said(node) == words(value.__doc__), member
        else:
            bound = "staticmethod" not in decorators(node)
            found = list(inspect.signature(getattr(native, member)).parameters)
            assert found[1 if bound else 0 :] == parameters(node, bound=bound), member
            assert said(node) == words(getattr(native, member).__doc__), member


def said(node: ast.FunctionDef | ast.ClassDef) -> str:
    return words(ast.get_docstring(node))


def words(text: str | None) -> str:
    return " ".join((text or "").split())
