#!/usr/bin/env bash
# Every linter, all of them even when one fails, so that one run shows everything there is to mend.
set -uo pipefail
cd "$(dirname "$0")/.."
bin=$(dirname "${PYTHON:-.venv/bin/python}")
cargo_deny_version=0.20.2
failed=()

run() {
    local name=$1 begin=$SECONDS
    shift
    if "$@"; then
        printf 'lint: %-18s ok (%d s)\n' "$name" $((SECONDS - begin))
    else
        printf 'lint: %-18s FAILED: %s\n' "$name" "$*"
        failed+=("$name")
    fi
}

# No wheel of cargo-deny is current, so it is built from its crate, once, into .tools. The debug profile
# compiles in half the time and checks this workspace just as well.
cargo_deny() {
    local tool=.tools/bin/cargo-deny
    if [ "$("$tool" --version 2>/dev/null)" != "cargo-deny $cargo_deny_version" ]; then
        echo "lint: building cargo-deny $cargo_deny_version (once)"
        CARGO_TARGET_DIR=.tools/target cargo install --quiet --locked --debug --root .tools \
            "cargo-deny@$cargo_deny_version" || return 1
        rm -rf .tools/target
    fi
    "$tool" --log-level warn --locked --offline check --hide-inclusion-graph licenses bans sources
}

python_dirs=(python tests tools benches)
[ -d examples ] && python_dirs+=(examples)
run 'ruff' "$bin/ruff" check --quiet "${python_dirs[@]}"
run 'ruff format' "$bin/ruff" format --quiet --check "${python_dirs[@]}"
run 'pyright' "$bin/pyright" --warnings
run 'rustfmt' cargo fmt --all --check
run 'rustfmt (fuzz)' cargo fmt --check --manifest-path fuzz/Cargo.toml
run 'clippy' cargo clippy --quiet --release --locked --workspace --all-targets -- --deny warnings
run 'cargo-deny' cargo_deny
run 'typos' "$bin/typos"
run 'forbidden content' "$bin/python" tools/check_repo.py

if ((${#failed[@]} > 0)); then
    printf '\nlint: %d failed: %s\n' "${#failed[@]}" "${failed[*]}"
    exit 1
fi
echo 'lint: all passed'
