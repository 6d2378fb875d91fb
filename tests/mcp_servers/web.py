"""A small MCP server over streamable HTTP, with or without OAuth; the tests of rust/agent start it.

    python web.py KIND [PORT]

Standard library only. The first line that it prints is its port. Its tool `seen` tells what the server saw:
headers, requests for tokens.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import secrets
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

KIND = sys.argv[1] if len(sys.argv) > 1 else "plain"
PORT = int(sys.argv[2]) if len(sys.argv) > 2 else 0

Message = dict[str, Any]
SEEN: list[str] = []
# Tokens that were given out, and codes with the challenge that their token request must answer.
TOKENS: set[str] = set()
CODES: dict[str, str] = {}
TOOLS = [
    {"name": name, "inputSchema": {"type": "object"}} for name in ("seen", "huge", "busy", "html", "forget")
]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base class names it so
        """Says nothing."""

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]

    def send(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        # Who is told too much hangs up.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body)

    def send_json(self, value: Any, status: int = 200, **headers: str) -> None:
        self.send(status, json.dumps(value).encode(), **headers)

    # ---------------------------------------------------------------------------------------- the protocol

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        if url.path.startswith("/.well-known/oauth-protected-resource"):
            self.send_json({"resource": f"{self.base}/mcp", "authorization_servers": [self.base]})
        elif url.path.startswith("/.well-known/"):
            self.send_json(
                {
                    "issuer": self.base,
                    "authorization_endpoint": f"{self.base}/authorize",
                    "token_endpoint": f"{self.base}/token",
                    "registration_endpoint": f"{self.base}/register",
                    "response_types_supported": ["code"],
                    "grant_types_supported": ["authorization_code", "client_credentials"],
                    "code_challenge_methods_supported": ["S256"],
                    "token_endpoint_auth_methods_supported": ["none", "client_secret_post"],
                }
            )
        elif url.path == "/authorize":
            asked = {key: values[0] for key, values in parse_qs(url.query).items()}
            code = secrets.token_hex(8)
            CODES[code] = asked["code_challenge"]
            answer = urlencode({"code": code, "state": asked["state"]})
            self.send(302, b"", Location=f"{asked['redirect_uri']}?{answer}")
        else:
            self.send(405, b"")

    def do_DELETE(self) -> None:
        self.send(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.path == "/register":
            asked = json.loads(body)
            SEEN.append("register")
            self.send_json({**asked, "client_id": "registered"}, 201)
        elif self.path == "/token":
            self.token({key: values[0] for key, values in parse_qs(body.decode()).items()})
        elif self.authorized():
            self.message(json.loads(body))

    def token(self, asked: Message) -> None:
        grant = asked.get("grant_type")
        SEEN.append(f"token {grant}")
        if grant == "authorization_code":
            digest = hashlib.sha256(asked["code_verifier"].encode()).digest()
            challenge = base64.urlsafe_b64encode(digest).decode().rstrip("=")
            good = CODES.pop(asked["code"], None) == challenge
        else:
            good = asked.get("client_id") == "robot" and asked.get("client_secret") == "test-secret"
        if not good:
            self.send_json({"error": "invalid_grant", "error_description": "no"}, 400)
            return
        token = f"token-{secrets.token_hex(8)}"
        TOKENS.add(token)
        self.send_json({"access_token": token, "token_type": "Bearer", "expires_in": 3600})

    def authorized(self) -> bool:
        if KIND != "oauth":
            return True
        token = self.headers.get("Authorization", "").removeprefix("Bearer ")
        if token in TOKENS:
            return True
        metadata = f"{self.base}/.well-known/oauth-protected-resource/mcp"
        self.send(401, b"", WWW_Authenticate=f'Bearer resource_metadata="{metadata}"')
        return False

    def message(self, message: Message) -> None:
        method, params = message.get("method"), message.get("params") or {}
        if "id" not in message:
            self.send(202, b"")
            return
        answer: Message = {"jsonrpc": "2.0", "id": message["id"]}
        if method == "initialize" and KIND == "newest":
            answer["error"] = {"code": -32601, "message": "initialize is gone"}
        elif method == "initialize":
            answer["result"] = {
                "protocolVersion": params["protocolVersion"],
                "capabilities": {"tools": {}},
                "serverInfo": {"name": "web", "version": "1"},
            }
        elif method == "server/discover":
            answer["result"] = {
                "resultType": "complete",
                "supportedVersions": ["2026-07-28"],
                "capabilities": {"tools": {}},
                "ttlMs": 0,
                "cacheScope": "private",
            }
        elif method == "tools/list":
            answer["result"] = {"tools": TOOLS}
        elif method == "tools/call":
            self.call(params["name"], answer)
            return
        else:
            answer["error"] = {"code": -32601, "message": f"no method {method}"}
        self.send_json(answer)

    def call(self, name: str, answer: Message) -> None:
        if name == "huge":
            text = "x" * (20 * 1024 * 1024)
        elif name == "busy":
            self.send(503, b"", Retry_After="7")
            return
        elif name == "html":
            self.send(200, b"<html>hello</html>", kind="text/html")
            return
        elif name == "forget":
            TOKENS.clear()
            text = "forgotten"
        else:
            text = json.dumps({"headers": dict(self.headers), "seen": SEEN})
        answer["result"] = {"content": [{"type": "text", "text": text}]}
        self.send_json(answer)


def main() -> None:
    server = ThreadingHTTPServer(("127.0.0.1", PORT), Handler)
    server.daemon_threads = True
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
