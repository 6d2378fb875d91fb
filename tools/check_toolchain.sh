#!/usr/bin/env bash
# Says in one line what a machine lacks, before a build fails half-way with a longer story.
set -euo pipefail
python=${1:-python3}

missing() {
    printf 'make: %s\n' "$1" >&2
    exit 1
}

command -v "$python" >/dev/null 2>&1 || missing "no $python on the path: install CPython 3.10 or newer, or name one with PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' ||
    missing "$("$python" --version 2>&1) is too old: omni_bridge needs CPython 3.10 or newer; name one with PYTHON=/path/to/python3"
"$python" -c 'import venv, ensurepip' 2>/dev/null ||
    missing "$python has no venv module: install it (Debian: apt-get install python3-venv)"
"$python" -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_ENABLE_SHARED"))' ||
    missing "$python was built without a shared library, so no Rust or C program can embed it: name another with PYTHON= (pyenv: PYTHON_CONFIGURE_OPTS=--enable-shared)"
wanted=$(sed -nE 's/^rust-version *= *"([0-9.]+)"$/\1/p' "$(dirname "$0")/../Cargo.toml")
command -v cargo >/dev/null 2>&1 || missing "no cargo on the path: install a Rust toolchain ($wanted or newer)"
cargo=$(cargo --version 2>&1 | sed -nE 's/^cargo ([0-9]+\.[0-9]+\.[0-9]+).*/\1/p')
[ -n "$cargo" ] || missing "cargo is on the path but does not run: see what 'cargo --version' says (rustup: rustup default stable)"
[ "$(printf '%s\n' "$wanted" "$cargo" | sort -V | head -n 1)" = "$wanted" ] ||
    missing "cargo $cargo is too old: omni_bridge needs $wanted or newer (rustup: rustup update stable)"
command -v cc >/dev/null 2>&1 || missing "no C compiler on the path: install one (Debian: apt-get install gcc libc6-dev)"
