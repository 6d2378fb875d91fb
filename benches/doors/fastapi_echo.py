"""The hop's baseline: what HTTP costs at least: FastAPI on uvicorn, POST /echo, nothing else."""

from __future__ import annotations

import socket
import sys
from typing import Any

import uvicorn
from fastapi import Body, FastAPI

app = FastAPI(openapi_url=None)


@app.post("/echo")
async def echo(data: Any = Body()) -> Any:  # noqa: B008  # FastAPI's own way to name the body
    return data


if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f'{{"port": {listener.getsockname()[1]}}}\n')
    sys.stdout.flush()
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", access_log=False))
    server.run(sockets=[listener])
