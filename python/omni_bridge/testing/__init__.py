"""Servers to test against: a provider on loopback, recorded traffic, and things that go wrong.

They speak real HTTP on real sockets, use only the standard library, run on a thread of their own, and can be
awaited: no test has to sleep.

>>> import json, urllib.request
>>> from omni_bridge.testing import DemoServer
>>> with DemoServer() as server:
...     body = {"model": "demo", "messages": [{"role": "user", "content": "hi"}]}
...     asked = urllib.request.Request(server.url + "/v1/chat/completions", json.dumps(body).encode())
...     answer = json.load(urllib.request.urlopen(asked))
>>> answer["choices"][0]["finish_reason"]
'stop'
"""

from ._http import Exchange, HttpServer, Received
from .demo import DemoServer
from .faults import FAULTS, FaultServer
from .replay import CUTS, Cassette, Interaction, ReplayServer, cut_body, read_cassettes

__all__ = [
    "CUTS",
    "FAULTS",
    "Cassette",
    "DemoServer",
    "Exchange",
    "FaultServer",
    "HttpServer",
    "Interaction",
    "Received",
    "ReplayServer",
    "cut_body",
    "read_cassettes",
]
