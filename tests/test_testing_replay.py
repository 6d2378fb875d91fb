"""ReplayServer: the same bytes, cut anew, in their order, and no stream for those who did not ask for one."""

from __future__ import annotations

import gzip
import http.client
import json
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
from omni_bridge.testing import CUTS, Cassette, Interaction, ReplayServer, cut_body, read_cassettes

TEXT = 'data: {"t": "zażółć 🌍 ひらがな"}\r\n\r\ndata: plain\n\nevent: e\r\ndata: é\r\n\r\n'
STREAM = Interaction("chat/completions", 200, TEXT, {"content-type": "text/event-stream"})


def post(url: str, body: object = None) -> tuple[int, bytes]:
    data = json.dumps({} if body is None else body).encode()
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data), timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


@pytest.mark.parametrize("cut", [*CUTS, "random(1)", "random(2)"])
@pytest.mark.parametrize(
    "body",
    [TEXT.encode(), b"", b"ascii only", "é".encode(), b"\xff\xfe\x80", b"\r\n" * 3, "🌍".encode() * 9000],
)
def test_the_pieces_are_the_body(cut: str, body: bytes):
    pieces = cut_body(body, cut)
    assert b"".join(pieces) == body
    assert all(pieces)


def test_cuts_fall_where_they_are_meant_to():
    body = TEXT.encode()
    assert cut_body(body, "whole") == [body]
    assert all(len(piece) == 1 for piece in cut_body(body, "byte"))
    # every character of several bytes is cut: so no piece but the first starts with the start of a character
    pieces = cut_body(body, "utf8")
    assert len(pieces) == 1 + sum(len(char.encode()) > 1 for char in TEXT)
    assert all(0x80 <= piece[0] <= 0xBF for piece in pieces[1:])
    pieces = cut_body(body, "crlf")
    assert sum(piece.endswith(b"\r") for piece in pieces) == TEXT.count("\r\n")
    assert not any(b"\r\n" in piece or b"\n\n" in piece for piece in pieces)
    assert cut_body(body * 50, "random(1)") != cut_body(body * 50, "random(2)")
    assert cut_body(body * 50, "random(1)") == cut_body(body * 50, "random(1)")


def test_an_unknown_cut_is_an_error_that_names_the_known_ones():
    with pytest.raises(ValueError, match="use one of whole, byte, utf8, crlf, random"):
        cut_body(b"", "half")
    with pytest.raises(ValueError, match="unknown cut 'byte3'"):
        ReplayServer([], cut="byte3")


@pytest.mark.parametrize("cut", CUTS)
def test_what_arrives_is_the_recorded_body(cut: str):
    with ReplayServer([Cassette("c", "p", [STREAM])], cut=cut) as server:
        assert post(server.url_of(0) + "/v1/chat/completions", {"stream": True}) == (200, TEXT.encode())


def test_a_byte_at_a_time_is_an_http_chunk_for_every_byte():
    with ReplayServer([Cassette("c", "p", [STREAM])]) as server:
        place = urllib.parse.urlsplit(server.url_of(0, cut="byte"))
        client = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
        client.request("POST", place.path, body=b'{"stream":true}')
        client.getresponse().read()
        client.close()
        assert server.last.chunks == len(TEXT.encode())


def test_a_pause_lies_between_the_pieces():
    with ReplayServer([Cassette("c", "p", [Interaction("e", 200, "abcd")])]) as server:
        begun = time.monotonic()
        assert post(server.url_of(0, cut="byte", pause=0.02)) == (200, b"abcd")
        assert time.monotonic() - begun >= 0.06


def test_interactions_come_in_order_then_the_cassette_is_at_its_end():
    tape = Cassette(
        "hello", "p", [Interaction("e", 200, "1"), Interaction("e", 429, "2", {"retry-after": "3"})]
    )
    with ReplayServer([tape, tape]) as server:
        assert post(server.url_of(0)) == (200, b"1")
        assert post(server.url_of(1)) == (200, b"1"), "each cassette has its own place"
        assert post(server.url_of(0)) == (429, b"2")
        assert server.left_of(0) == 0
        status, body = post(server.url_of(0))
        assert status == 400
        assert b"hello: played to its end (2 interactions)" in body
        assert server.problems == ["hello: played to its end (2 interactions)"]
        server.rewind()
        assert post(server.url_of(1)) == (200, b"1")
        assert post(server.url + "/elsewhere")[0] == 400


def test_a_looping_cassette_starts_again():
    with ReplayServer([Cassette("c", "p", [Interaction("e", 200, "1")])], loop=True) as server:
        assert [post(server.url_of(0))[1] for _ in range(3)] == [b"1"] * 3


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/chat/completions", {"stream": True}, 200),
        ("/v1/chat/completions", {"stream": False}, 400),
        ("/v1/chat/completions", {"messages": [{"content": '"stream": true'}]}, 400),
        ("/v1beta/models/m:streamGenerateContent", {}, 200),
        ("/v1beta/models/m:generateContent?alt=sse", {}, 200),
        ("/v1beta/models/m:generateContent", {}, 400),
        ("/api/chat", {}, 200),
        ("/api/chat", {"stream": False}, 400),
    ],
)
def test_a_stream_is_only_for_those_who_asked_for_one(path: str, body: object, status: int):
    with ReplayServer([Cassette("tape", "p", [STREAM])]) as server:
        assert post(server.url_of(0) + path, body)[0] == status
        assert bool(server.problems) == (status == 400)
        assert server.left_of(0) == (1 if status == 400 else 0), "a refused request does not move the tape"


def test_recorded_headers_come_along_except_those_of_the_old_connection():
    headers = {
        "content-type": "application/json",
        "x-request-id": "r1",
        "content-length": "999",
        "content-encoding": "br",
    }
    with ReplayServer([Cassette("c", "p", [Interaction("e", 200, "{}", headers)])]) as server:
        answer = urllib.request.urlopen(server.url_of(0), data=b"{}", timeout=30)
        assert answer.read() == b"{}"
        assert answer.headers["x-request-id"] == "r1"
        assert answer.headers["content-encoding"] is None


def test_cassettes_are_read_from_gzipped_json_lines(tmp_path):
    line = {
        "cassette": "a/b",
        "provider": "openai",
        "interactions": [
            {
                "endpoint": "chat/completions",
                "request": {"method": "POST", "url": "https://x/v1/chat/completions", "body": "{}"},
                "response": {
                    "status": 200,
                    "headers": {"content-type": "application/json"},
                    "body": '{"é": 1}',
                },
            }
        ],
    }
    (tmp_path / "sub").mkdir()
    for name in ("sub/two.jsonl.gz", "one.jsonl.gz"):
        with gzip.open(tmp_path / name, "wt", encoding="utf-8") as file:
            file.write(json.dumps({**line, "cassette": name}) + "\n")
    tapes = list(read_cassettes(tmp_path))
    assert [tape.name for tape in tapes] == ["one.jsonl.gz", "sub/two.jsonl.gz"]
    (interaction,) = tapes[0].interactions
    assert (interaction.endpoint, interaction.body, interaction.streamed) == (
        "chat/completions",
        '{"é": 1}',
        False,
    )
    assert interaction.request_body == "{}"
    assert next(read_cassettes(tmp_path / "one.jsonl.gz")).name == "one.jsonl.gz"
