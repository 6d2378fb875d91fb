#!/usr/bin/env bash
# Fuzzing on a stable toolchain and without cargo-fuzz: a plain build with LLVM's coverage, linked to libFuzzer.
#
#     tools/fuzz.sh SECONDS [TARGET ...]      run each target for that long, two at a time
#     tools/fuzz.sh quick                     ten seconds each, along the same way every time, for CI
#     tools/fuzz.sh repro TARGET FILE ...     run single inputs again
#     tools/fuzz.sh lint                      clippy over the targets
#
# The corpus grows in fuzz/corpus (seeded from the recordings in OMNI_WIRE, and from fuzz/seeds); what a target fails
# on is left in fuzz/artifacts. Both are ignored by git.
set -euo pipefail
cd "$(dirname "$0")/.."
all=(sse request openai_chat openai_responses anthropic gemini)
options=()
usage='tools/fuzz.sh SECONDS [TARGET ...] | quick | repro TARGET FILE ... | lint'

host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_TARGET_DIR=target/fuzz
# What `cargo fuzz` sets. With --target they reach neither build scripts nor procedural macros.
export RUSTFLAGS="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
-Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
-Cllvm-args=-sanitizer-coverage-trace-compares"
unset CARGO_ENCODED_RUSTFLAGS

build() {
    local bins=() target
    for target in "$@"; do bins+=(--bin "$target"); done
    cargo build --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$host" "${bins[@]}"
}

binary() { printf '%s/%s/release/%s' "$CARGO_TARGET_DIR" "$host" "$1"; }

# One target. A failure prints its whole log, a success its last line.
fuzz() {
    local target=$1 seconds=$2 log=$CARGO_TARGET_DIR/$1.log
    mkdir -p "fuzz/corpus/$target" "fuzz/artifacts/$target"
    if "$(binary "$target")" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -max_len=16384 \
        -artifact_prefix="fuzz/artifacts/$target/" "${options[@]}" \
        "fuzz/corpus/$target" "fuzz/seeds/$target" >"$log" 2>&1; then
        printf 'fuzz: %-18s ok: %s\n' "$target" "$(grep -E 'cov: ' "$log" | tail -n 1 | tr '\t' ' ')"
        return 0
    fi
    grep -vE '^#[0-9]+\s+(NEW|REDUCE|pulse|RELOAD)' "$log"
    printf 'fuzz: %-18s FAILED: tools/fuzz.sh repro %s FILE runs the input above again\n' "$target" "$target"
    return 1
}

case ${1:?$usage} in
repro)
    shift
    target=${1:?$usage}
    shift
    build "$target"
    exec "$(binary "$target")" "$@"
    ;;
lint)
    # With the flags and in the place of the build, so that libFuzzer is compiled once.
    cargo clippy --quiet --locked --release --manifest-path fuzz/Cargo.toml --target "$host" --all-targets -- --deny warnings
    exit
    ;;
esac
seconds=$1
shift
if [ "$seconds" = quick ]; then
    seconds=10
    # What was never seen before is for the long run to find: the same commit should pass each time.
    options=(-seed=1)
fi
targets=("$@")
((${#targets[@]} > 0)) || targets=("${all[@]}")

begun=$SECONDS
build "${targets[@]}"
printf 'fuzz: built in %d s\n' $((SECONDS - begun))
"${PYTHON:-python3}" tools/fuzz_seeds.py
failed=0
for ((at = 0; at < ${#targets[@]}; at += 2)); do
    running=()
    for target in "${targets[@]:at:2}"; do
        fuzz "$target" "$seconds" &
        running+=($!)
    done
    for job in "${running[@]}"; do wait "$job" || failed=1; done
done
exit $failed
