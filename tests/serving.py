"""A running `omni serve`, for the tests of its doors."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
from urllib.parse import urlsplit

from omni_bridge.testing import DemoServer

LONG = 120.0  # a deadline, not a wait; on a busy machine importing LiteLLM alone takes half a minute
KEY = "sk-a-secret-of-the-environment"


class Served:
    """A running `omni serve`."""

    def __init__(self, provider: DemoServer, *options: str, **environment: str) -> None:
        self.provider = provider
        env = {**os.environ, "OPENAI_API_BASE": provider.api_base, "OPENAI_API_KEY": KEY, **environment}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "omni_bridge", "serve", "--port", "0", "--json", *options],
            env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.log: list[str] = []
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "".join(self.log)
        self.ready = json.loads(line)
        self.url: str = self.ready["url"]
        self.port: int = urlsplit(self.url).port or 0

    def _read(self) -> None:
        assert self.process.stderr is not None
        self.log.extend(self.process.stderr)

    def __enter__(self):
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to stop and give the exit code."""
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)
        return self.wait()

    def wait(self) -> int:
        try:
            code = self.process.wait(LONG)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise
        self.reader.join(LONG)
        return code

    def ask(self, path: str, body: object = None, **headers: str) -> http.client.HTTPResponse:
        """Bytes go as they are, any other body as JSON."""
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=LONG)
        data = body if isinstance(body, bytes) else None if body is None else json.dumps(body)
        client.request("GET" if body is None else "POST", path, data, headers)
        return client.getresponse()
