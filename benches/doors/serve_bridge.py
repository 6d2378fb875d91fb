"""`omni serve` for the comparison: on a free port that it prints as JSON, with endpoints allowed."""

from __future__ import annotations

import runpy
import socket
import sys


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


if __name__ == "__main__":
    port = free_port()
    sys.argv = ["omni_bridge", "serve", "--port", str(port), "--allow-endpoints"]
    sys.stdout.write(f'{{"port": {port}}}\n')
    sys.stdout.flush()
    runpy.run_module("omni_bridge", run_name="__main__")
