#!/usr/bin/env bash
# Runs the public conformance suite of the Model Context Protocol against our client, scenario by scenario, and prints
# a table. Fails if a scenario that should pass does not; what is not supported is named
# with its reason.
#
#     tools/mcp_conformance.sh [CLIENT]     CLIENT is a built rust/agent/examples/mcp_conformance.rs
set -euo pipefail
cd "$(dirname "$0")/.."

client=${1:-}
if [ -z "$client" ]; then
    cargo build --locked --quiet -p omni-agent --example mcp_conformance
    client=$PWD/target/debug/examples/mcp_conformance
fi
bash tools/mcp_servers.sh >/dev/null

suite() {
    .tools/mcp/bin/node --no-deprecation .tools/mcp/node_modules/.bin/conformance "$@"
}
unsupported() {
    case $1 in
    elicitation-sep1034-client-defaults) echo 'nobody is asked in the middle of a tool: elicitation is refused' ;;
    auth/client-credentials-jwt) echo 'no keys for signing in a configuration' ;;
    auth/2025-03-26-oauth-metadata-backcompat)
        echo "its metadata names another issuer than its address: the SDK refuses that, as RFC 8414 section 3.3 asks"
        ;;
    auth/cross-app-access-complete-flow) echo 'an extension for companies that run their own identity provider' ;;
    esac
}

# Its server answers on whichever stream is open: if our own stream comes a little late, nothing is left to reconnect,
# and the suite warns that it saw no reconnection.
tries() {
    [ "$1" = sse-retry ] && echo 5 || echo 1
}

out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
passed=0 failed=0 skipped=0 checks=0
printf '%-44s %-10s %s\n' scenario result checks
# Said by the suite itself, so that a new scenario of a new version is not overlooked.
scenarios=$(suite list --client | sed -nE 's/^ +- ([^ ]+) .*/\1/p')
for scenario in $scenarios; do
    reason=$(unsupported "$scenario")
    if [ -n "$reason" ]; then
        skipped=$((skipped + 1))
        printf '%-44s %-10s %s\n' "$scenario" unsupported "$reason"
        continue
    fi
    log=$out/log
    result=FAILED
    for _ in $(seq "$(tries "$scenario")"); do
        if suite client --timeout 60000 --command "$client" --scenario "$scenario" >"$log" 2>&1; then
            result=passed
            break
        fi
    done
    if [ "$result" = passed ]; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
    summary=$(sed -nE 's/^Passed: ([0-9]+\/[0-9]+),.*/\1/p' "$log" | tail -1)
    checks=$((checks + ${summary%%/*}))
    printf '%-44s %-10s %s\n' "$scenario" "$result" "$summary"
    if [ "$result" = FAILED ]; then
        sed -n '/^Failed Checks/,$p' "$log" | sed 's/^/    /'
    fi
done
printf '\nscenarios: %d passed, %d failed, %d unsupported; checks passed: %d\n' "$passed" "$failed" "$skipped" "$checks"
[ "$failed" = 0 ]
