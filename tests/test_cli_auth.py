"""`omni auth`: keys are kept, listed and removed without ever being shown."""

from __future__ import annotations

import json
import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.terminal import on_a_terminal

CANARY = "canary-of-the-terminal-0001"
LONG = 60.0


@pytest.fixture
def omni(release_dir: Path) -> str:
    return str(release_dir / "omni")


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """A home of its own, without a key and without a keychain."""
    return {
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path / "run"),
        "PATH": os.environ["PATH"],
        "OMNI_CREDENTIALS": str(tmp_path / "config" / "keys.json"),
    }


def run(
    omni: str, *words: str, env: dict[str, str], stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [omni, "auth", *words],
        env=env,
        input=stdin or "",
        capture_output=True,
        text=True,
        timeout=LONG,
        check=False,
    )
    assert CANARY not in done.stdout + done.stderr
    return done


def typing(omni: str, *words: str, env: dict[str, str], typed: bytes) -> tuple[int, str]:
    """The exit code and everything that the terminal showed to who typed this when the key was asked for."""
    return on_a_terminal([omni, "auth", *words], env, asked=b"not shown", answers=[typed])


def test_a_key_from_a_pipe_is_kept_in_a_file_of_the_owners_alone(omni: str, env: dict[str, str]):
    done = run(omni, "set", "openai", "--file", env=env, stdin=CANARY + "\n")
    file = Path(env["OMNI_CREDENTIALS"])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"the key of openai is kept in {file}\n"
    assert json.loads(file.read_text())["keys"] == {"openai": CANARY}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_key_that_is_typed_is_not_echoed(omni: str, env: dict[str, str]):
    code, shown = typing(omni, "set", "openai", "--file", env=env, typed=CANARY.encode() + b"\r")
    assert code == 0, shown
    assert "Key of openai (not shown)" in shown
    assert "canary" not in shown
    assert json.loads(Path(env["OMNI_CREDENTIALS"]).read_text())["keys"] == {"openai": CANARY}


def test_ctrl_c_at_the_prompt_keeps_nothing(omni: str, env: dict[str, str]):
    code, shown = typing(omni, "set", "openai", "--file", env=env, typed=b"canary\x03")
    assert (code, "canary" in shown) == (130, False)
    assert not Path(env["OMNI_CREDENTIALS"]).exists()


@pytest.mark.parametrize(
    "words",
    [
        ("set", "openai", CANARY),
        ("set", "openai", "--file", CANARY),
        ("set", "openai", CANARY, "--file"),
        ("set", "openai", f"--key={CANARY}"),
        ("set", "openai", "--key", CANARY),
        ("set", f"sk-{CANARY}"),
        ("remove", f"sk-{CANARY}"),
    ],
)
def test_a_key_on_the_command_line_is_refused_and_not_repeated(
    omni: str, env: dict[str, str], words: tuple[str, ...]
):
    done = run(omni, *words, env=env, stdin=CANARY)
    assert done.returncode == 2, done.stderr
    assert not Path(env["OMNI_CREDENTIALS"]).exists()


def test_an_empty_key_and_one_of_several_lines_are_refused(omni: str, env: dict[str, str]):
    for stdin in (" \n", f"{CANARY}\n{CANARY}\n", "x" * 70_000):
        assert run(omni, "set", "openai", "--file", env=env, stdin=stdin).returncode == 2
    assert not Path(env["OMNI_CREDENTIALS"]).exists()


def test_without_a_keychain_one_line_says_so_and_names_the_file(omni: str, env: dict[str, str]):
    done = run(omni, "set", "openai", env=env, stdin=CANARY)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith("omni: no keychain is running here: ")
    assert "omni auth set openai --file" in done.stderr
    assert done.stderr.count("\n") == 1
    off = run(omni, "set", "openai", env=env | {"OMNI_KEYCHAIN": "off"}, stdin=CANARY)
    assert (off.returncode, "OMNI_KEYCHAIN is off" in off.stderr) == (2, True)


def test_the_list_names_keys_and_says_which_is_taken(omni: str, env: dict[str, str]):
    for provider in ("openai", "zeta"):
        run(omni, "set", provider, "--file", env=env, stdin=CANARY)
    env |= {"OPENAI_API_KEY": CANARY, "ACME_API_KEY": CANARY, "OMNI_KEYCHAIN": "off"}
    done = run(omni, "list", env=env)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == [
        "openai  environment OPENAI_API_KEY",
        "openai  file  (not taken: environment OPENAI_API_KEY comes first)",
        "acme    environment ACME_API_KEY",
        "zeta    file",
    ]
    rows = json.loads(run(omni, "list", "--json", env=env).stdout)["keys"]
    assert rows[:2] == [
        {"provider": "openai", "source": "environment", "name": "OPENAI_API_KEY", "taken": True},
        {"provider": "openai", "source": "file", "taken": False},
    ]


def test_a_shadowed_key_is_told_when_it_is_set(omni: str, env: dict[str, str]):
    done = run(omni, "set", "openai", "--file", env=env | {"OPENAI_API_KEY": CANARY}, stdin=CANARY)
    assert done.returncode == 0
    assert "while OPENAI_API_KEY is set in the environment" in done.stderr


def test_a_removed_key_is_gone_and_a_second_time_not_found(omni: str, env: dict[str, str]):
    run(omni, "set", "openai", "--file", env=env, stdin=CANARY)
    done = run(omni, "remove", "openai", env=env)
    assert (done.returncode, done.stdout) == (
        0,
        f"the key of openai is removed from {env['OMNI_CREDENTIALS']}\n",
    )
    assert CANARY not in Path(env["OMNI_CREDENTIALS"]).read_text()
    again = run(omni, "remove", "openai", env=env)
    assert again.returncode == 15
    assert "no key of openai is kept here" in again.stderr


def test_a_file_that_others_can_read_is_not_used(omni: str, env: dict[str, str]):
    run(omni, "set", "openai", "--file", env=env, stdin=CANARY)
    file = Path(env["OMNI_CREDENTIALS"])
    file.chmod(0o644)
    done = run(omni, "set", "zeta", "--file", env=env, stdin=CANARY)
    assert done.returncode == 12
    assert f"chmod 600 {file}" in done.stderr
    listed = run(omni, "list", env=env)
    assert (listed.returncode, f"chmod 600 {file}" in listed.stderr) == (0, True)


def test_doctor_says_what_is_kept_and_where(omni: str, env: dict[str, str], tmp_path: Path):
    run(omni, "set", "openai", "--file", env=env, stdin=CANARY)
    env |= {"OMNI_BRIDGE_PYTHON": str(tmp_path / "gone")}
    page = subprocess.run(
        [omni, "doctor"], env=env, capture_output=True, text=True, timeout=LONG, check=False
    )
    assert "keys kept    openai (file)" in page.stdout
    assert "note         no keychain is running here: " in page.stdout
    report = subprocess.run([omni, "doctor", "--json"], env=env, capture_output=True, text=True, check=False)
    assert json.loads(report.stdout)["kept"] == [{"provider": "openai", "source": "file"}]
    assert CANARY not in page.stdout + page.stderr + report.stdout


def test_the_list_knows_every_provider_of_the_catalogue_and_of_ones_own(
    omni: str, env: dict[str, str], tmp_path: Path
):
    config = tmp_path / "omni.toml"
    config.write_text(
        '[providers.acme]\nprotocol = "openai_chat"\nbase_url = "http://127.0.0.1:9"\nkey_env = "ACME_PASS"\n'
    )
    names = (
        "ACME_PASS",
        "HF_TOKEN",
        "TOGETHERAI_API_KEY",
        "GOOGLE_API_KEY",
        "COHERE_API_KEY",
        "AZURE_API_KEY",
    )
    env |= {name: f"{CANARY}-{name}" for name in names} | {"OMNI_CONFIG": str(config), "OMNI_KEYCHAIN": "off"}
    listed = [line.split() for line in run(omni, "list", env=env).stdout.splitlines()]
    assert listed == [
        ["gemini", "environment", "GOOGLE_API_KEY"],
        ["acme", "environment", "ACME_PASS"],
        ["azure", "environment", "AZURE_API_KEY"],
        ["huggingface", "environment", "HF_TOKEN"],
        ["together_ai", "environment", "TOGETHERAI_API_KEY"],
        ["cohere", "environment", "COHERE_API_KEY"],
    ]


def test_a_broken_configuration_is_told_and_keys_are_listed_all_the_same(
    omni: str, env: dict[str, str], tmp_path: Path
):
    config = tmp_path / "omni.toml"
    config.write_text("[providers")
    env |= {"OPENAI_API_KEY": CANARY, "OMNI_CONFIG": str(config), "OMNI_KEYCHAIN": "off"}
    done = run(omni, "list", env=env)
    assert (done.returncode, done.stdout) == (0, "openai  environment OPENAI_API_KEY\n")
    assert f"omni: {config}:1: " in done.stderr


def test_a_key_of_a_provider_that_nobody_knows_is_kept_with_a_word_about_it(omni: str, env: dict[str, str]):
    done = run(omni, "set", "opnai", "--file", env=env, stdin=CANARY)
    assert done.returncode == 0
    assert 'there is no provider "opnai"; did you mean "openai"?' in done.stderr
    assert run(omni, "set", "openai", "--file", env=env, stdin=CANARY).stderr == ""
