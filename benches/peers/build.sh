#!/usr/bin/env bash
# Builds the other Rust clients of the comparison, each by itself: one that this toolchain cannot build is left out,
# and one line says so. Asks the registry for what is not there yet.
set -uo pipefail
cd "$(dirname "$0")"
export CARGO_TARGET_DIR=target
for peer in genai rig async-openai; do
    if ! cargo build --release --locked --quiet --features "$peer" --bin "bench-$peer" >"build-$peer.log" 2>&1; then
        rm -f "target/release/bench-$peer" # an older one would be compared in its place
        printf 'peers: %s is left out, it does not build here: %s\n' "$peer" "$(grep -m1 '^error' "build-$peer.log")"
    fi
done
