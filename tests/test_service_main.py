"""`python -m omni_bridge`: two commands are Python, everything else is the Rust command line."""

from __future__ import annotations

import pytest
from omni_bridge import __main__, _native


def test_everything_else_goes_to_the_rust_command_line(monkeypatch: pytest.MonkeyPatch):
    seen: list[list[str]] = []

    def cli_main(arguments: list[str]) -> int:
        seen.append(arguments)
        return 11

    monkeypatch.setattr(_native, "cli_main", cli_main)
    assert __main__.main(["chat", "hi"]) == 11
    monkeypatch.setattr("sys.argv", ["/somewhere/omni", "doctor", "--json"])
    assert __main__.main() == 11
    assert seen == [["omni", "chat", "hi"], ["omni", "doctor", "--json"]]


@pytest.mark.parametrize("command", ["serve", "demo-server"])
def test_the_python_commands_explain_themselves(command: str, capsys: pytest.CaptureFixture[str]):
    with pytest.raises(SystemExit) as stopped:
        __main__.main([command, "--help"])
    assert stopped.value.code == 0
    assert f"usage: omni {command}" in capsys.readouterr().out


@pytest.mark.parametrize("option", ["--max-body", "--max-bodies", "--grace"])
@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "-1", "1e300"])
def test_numbers_that_cannot_be_end_in_one_line(option: str, value: str, capsys: pytest.CaptureFixture[str]):
    assert __main__.main(["serve", f"{option}={value}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"omni serve: {option}: give ")
    assert said.count("\n") == 1


def test_a_body_that_would_never_be_taken_is_not_allowed(capsys: pytest.CaptureFixture[str]):
    assert __main__.main(["serve", "--max-body", "512"]) == 2
    assert "--max-bodies" in capsys.readouterr().err
