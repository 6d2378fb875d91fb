#!/usr/bin/env bash
# The wheel as somebody gets it who installs it: one for CPython 3.10 and newer, with the command, in an environment
# that has nothing else. Without LiteLLM beside it the native engine answers.
#
#     tools/check_wheel.sh dist     PYTHON=... names an interpreter that has pip
set -euo pipefail
cd "$(dirname "$0")/.."
python=${PYTHON:-python3}

wheels=("${1:-dist}"/*.whl)
if ((${#wheels[@]} != 1)) || [[ ${wheels[0]} != *-cp310-abi3-*.whl ]]; then
    printf 'wheel: expected one for cp310-abi3, found: %s\n' "${wheels[*]}" >&2
    exit 1
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
env -u VIRTUAL_ENV "$python" -m venv --without-pip "$folder"
"$python" -m pip --disable-pip-version-check --python "$folder/bin/python" install --quiet --no-deps --no-index "${wheels[0]}"

# From another folder, so that nothing of the checkout is found.
cd "$folder"
env -u PYTHONPATH "$folder/bin/omni" --version
env -u PYTHONPATH -u VIRTUAL_ENV "$folder/bin/python" - <<'PY'
import omni_bridge
from omni_bridge.testing import DemoServer

with DemoServer() as server:
    reply = omni_bridge.chat(
        [{"role": "user", "content": "Say hello."}], "openai/demo", api_base=server.api_base, api_key="none"
    )
assert reply.engine == "native", reply
print(reply.content)
PY
echo "wheel: $(basename "${wheels[0]}") is whole"
