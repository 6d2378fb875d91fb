"""Pictures by address: nothing is fetched from a private network unless the host allows it."""

from __future__ import annotations

import asyncio
import base64
import importlib
import json

import pytest
from omni_bridge import _litellm
from omni_bridge.errors import OmniError
from omni_bridge.testing import HttpServer

PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
)


class Pictures(HttpServer):
    async def answer(self, exchange):
        if exchange.request.path == "/away":
            await exchange.reply(302, b"", {"location": f"http://127.0.0.2:{self.port}/secret.png"})
        elif exchange.request.method == "GET":
            await exchange.reply(200, PNG, {"content-type": "image/png"})
        else:
            text = {"type": "text", "text": "a dot"}
            answer = {"id": "m", "type": "message", "role": "assistant", "model": "c", "content": [text]}
            await exchange.reply(
                200, {**answer, "stop_reason": "end_turn", "usage": {"input_tokens": 1, "output_tokens": 1}}
            )


class Events(list):
    def emit(self, event):
        self.append(event)
        return False

    async def drain(self):
        pass


def ask(server, address, **config):
    part = {"type": "image_url", "image_url": {"url": address}}
    request = {
        "model": "anthropic/claude-sonnet-4-5",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, part]}],
        "max_tokens": 10,
        "api_base": server.url,
        "api_key": "k",
        "timeout": 30,
    }
    events = Events()
    asyncio.run(_litellm.chat({"op": "chat", "request": request, "config": config}, events))
    return events


def fetched(server):
    return [request.path for request in server.requests if request.method == "GET"]


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "169.254.169.254", "10.1.2.3"]
)
def test_a_private_address_is_not_fetched(host):
    with Pictures() as server:
        with pytest.raises(OmniError) as caught:
            ask(server, f"http://{host}:{server.port}/secret.png")
        assert caught.value.code == "invalid_request"
        assert server.requests == []


def test_a_private_address_is_fetched_when_the_configuration_allows_it():
    with Pictures() as server:
        ask(server, f"http://127.0.0.1:{server.port}/dot.png", allow_private_images=True)
        assert fetched(server) == ["/dot.png"]
        sent = json.loads(server.last.body)["messages"][0]["content"][1]["source"]
    assert (sent["media_type"], base64.b64decode(sent["data"])) == ("image/png", PNG)


def test_what_one_call_may_fetch_is_not_served_to_another():
    with Pictures() as server:
        address = f"http://127.0.0.1:{server.port}/dot.png"
        ask(server, address, allow_private_images=True)
        with pytest.raises(OmniError):
            ask(server, address)
        assert fetched(server) == ["/dot.png"]


def test_a_redirect_to_a_private_address_is_not_followed(monkeypatch):
    _litellm._litellm()
    url_utils = importlib.import_module("litellm.litellm_core_utils.url_utils")
    inner = url_utils._is_blocked_ip
    # One loopback address plays the public host; the other one stays what it is.
    monkeypatch.setattr(url_utils, "_is_blocked_ip", lambda ip: ip != "127.0.0.1" and inner(ip))
    with Pictures() as server:
        with pytest.raises(OmniError):
            ask(server, f"http://127.0.0.1:{server.port}/away")
        assert "/secret.png" not in fetched(server)
        assert "/away" in fetched(server)
