"""The golden documents through the C interface: `python vectors.py FILE…` prints what came back different.

Every document goes through omni_check; the events also through a stream, and their reply through omni_chat,
with the scripted engine in the provider's place.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from binding import CallError, Library, asking

library = Library()
differences: list[str] = []


def expand(value: Any) -> Any:
    """`{"$repeat": [text, times]}` stands for the text so many times."""
    if isinstance(value, dict):
        if value.keys() == {"$repeat"}:
            text, times = value["$repeat"]
            return text * times
        return {key: expand(inner) for key, inner in value.items()}
    return [expand(inner) for inner in value] if isinstance(value, list) else value


def compare(place: str, got: Any, want: Any) -> None:
    if got != want:
        differences.append(f"{place}:\n  got  {json.dumps(got)[:2000]}\n  want {json.dumps(want)[:2000]}")


def check(place: str, kind: str, document: Any, want: Any) -> None:
    try:
        compare(place, library.check(kind, json.dumps(document).encode()), want)
    except CallError as refused:
        differences.append(f"{place}: refused: {refused.error}")


def refused(name: str, document: Any, want: dict[str, str]) -> None:
    try:
        got = library.check("request", json.dumps(document).encode())
        differences.append(f"{name}: taken, and given back as {json.dumps(got)[:500]}")
    except CallError as error:
        compare(f"{name}: code", error.error["code"], want["code"])
        compare(f"{name}: message", error.error["message"][: len(want["starts"])], want["starts"])


def played(name: str, vector: dict[str, Any]) -> None:
    """The events as an engine would send them come out of a stream equal; so does the reply out of a chat."""
    wanted = vector.get("expect_documents", vector["documents"])
    end = vector["finish"]
    lines = [*vector["documents"][:-1], {"type": "hold"} if end["type"] == "cancelled" else end]
    client = library.init({"script": [lines], "retry": 0})
    stream = library.open(client, asking("x"))
    for place, want in enumerate(wanted[:-1]):
        compare(f"{name}: event {place}", library.next(stream), want)
    if end["type"] == "cancelled":
        library.c.omni_stream_cancel(stream)
    last = library.next(stream)
    # Who tried, how often and how long is the client's to say; how long a socket took to close the engine's.
    last["reply"]["attempts"] = wanted[-1]["reply"]["attempts"]
    if "closed_ms" in last:
        last["closed_ms"] = wanted[-1]["closed_ms"]
    compare(f"{name}: last event", last, wanted[-1])
    library.c.omni_stream_free(stream)
    if end["type"] == "finish":
        reply = library.chat(client, asking("x"))
        reply["attempts"] = vector["expect"]["attempts"]
        compare(f"{name}: reply", reply, vector["expect"])
    library.c.omni_shutdown(client, -1)


for path in map(Path, sys.argv[1:]):
    vector = expand(json.loads(path.read_bytes()))
    kind = vector["kind"]
    if "refused" in vector:
        refused(path.name, vector["document"], vector["refused"])
    elif kind == "events":
        pairs = zip(vector["documents"], vector.get("expect_documents", vector["documents"]), strict=True)
        for place, (document, want) in enumerate(pairs):
            check(f"{path.name}: document {place}", "event", document, want)
        played(path.name, vector)
    else:
        check(path.name, kind, vector["document"], vector.get("expect", vector["document"]))
        if kind == "error":
            compare(f"{path.name}: number", library.number(vector["document"]), vector["traits"]["number"])

print("\n".join(differences) or f"{len(sys.argv) - 1} equal")
sys.exit(1 if differences else 0)
