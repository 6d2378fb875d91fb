#!/usr/bin/env bash
# Resolves requirements/{runtime,dev,mcp_servers}.txt anew: for CPython 3.10 and newer on every platform,
# with hashes and without any index address. Run it after a change of the dependencies in pyproject.toml.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v uv >/dev/null 2>&1; then
    echo "make lock: needs uv: pip install uv (into an environment of its own), then put it on the path" >&2
    exit 1
fi
compile() {
    uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
        --custom-compile-command 'make lock' "$@" pyproject.toml
}
compile --upgrade --output-file requirements/runtime.txt
compile --extra dev --no-emit-package omni-bridge --constraint requirements/runtime.txt \
    --output-file requirements/dev.txt
# What the MCP tests run, in an environment of its own: it must fit nothing of ours (tools/mcp_servers.sh).
uv pip compile --quiet --universal --python-version 3.10 --generate-hashes --no-annotate \
    --custom-compile-command 'make lock' --upgrade --output-file requirements/mcp_servers.txt requirements/mcp_servers.in
echo 'written: requirements/runtime.txt requirements/dev.txt requirements/mcp_servers.txt'
