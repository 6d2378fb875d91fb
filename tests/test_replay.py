"""Recorded traffic through the engine: the numbers do not fall, and the judge itself can say no."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from pathlib import Path

import pytest
from omni_bridge.testing import Interaction

from tests.replay import agree, costs, offline, reading, rebuild
from tests.replay.__main__ import apart_in_cost, costs_are_well, cut_otherwise, grown, kinds_of, said_well
from tests.replay.cases import CUTS, Case, cases, wire_folder
from tests.replay.own import own_cases
from tests.replay.run import Report, compare, run

EXPECTED = json.loads((Path(__file__).parent / "replay" / "expected.json").read_text("utf-8"))


def test_no_number_of_the_replay_falls():
    if not wire_folder().is_dir():
        pytest.skip(f"there are no recordings at {wire_folder()}: set OMNI_WIRE to their folder")
    report = asyncio.run(run(list(cases()), EXPECTED["cuts"][0]))
    held = {(row["provider"], row["endpoint"]): row for row in EXPECTED["rows"]}
    fallen = {
        key: (row.equal, held[key]["equal"])
        for key, row in report.rows.items()
        if key in held and row.equal < held[key]["equal"]
    }
    assert fallen == {}, [" | ".join(one) for one in report.differences[:20]]
    fallen = {
        key: (row.native_equal, held[key]["native_equal"], row.same, held[key]["same"])
        for key, row in report.rows.items()
        if key in held and (row.native_equal < held[key]["native_equal"] or row.same < held[key]["same"])
    }
    assert fallen == {}, [" | ".join(one) for one in [*report.differences, *report.disagreements][:20]]
    assert report.sent >= EXPECTED["sent"]
    assert report.total("native_sent") >= EXPECTED["native_sent"]
    assert report.equal >= 0.995 * report.sent
    assert grown(kinds_of(report), EXPECTED["apart"]) == {}
    explained = agree.explained()
    assert [one for one in report.disagreements if one[2] not in explained][:5] == []
    # What is not sent is not applicable for a reason that stands in the table.
    assert all(reason for row in report.rows.values() for reason in row.reasons)
    priced = costs.judged(report.costs)
    assert priced.unexplained == []
    assert grown(apart_in_cost(priced), EXPECTED["costs"]) == {}
    assert priced.kinds["equal"] >= EXPECTED["costs"]["equal"]


@pytest.mark.parametrize("cut", [cut for cut in CUTS if cut not in EXPECTED["cuts"]])
def test_recorded_answers_are_read_natively_however_they_are_cut(cut: str):
    if not wire_folder().is_dir():
        pytest.skip(f"there are no recordings at {wire_folder()}: set OMNI_WIRE to their folder")
    report = asyncio.run(cut_otherwise(list(cases()), cut, ["native"]))
    assert report.differences == []
    equal, sent = EXPECTED["cut_otherwise"][cut]["native"]
    assert equal == sent == EXPECTED["native_sent"]
    assert report.total("native_equal") == report.total("native_sent") >= sent


def test_a_difference_that_comes_more_often_than_it_did_is_found(capsys: pytest.CaptureFixture[str]):
    assert grown({"usage.cost_usd": 3}, {"usage.cost_usd": 3}) == {}
    assert list(grown({"usage.cost_usd": 3}, {"usage.cost_usd": 2})) == ["usage.cost_usd"]
    assert list(grown({"usage.cost_usd": 3}, {})) == ["usage.cost_usd"]
    report = Report(disagreements=[("a", "b", "usage.cost_usd", "native 1 litellm 2")] * 3)
    assert said_well("whole", report, 9, {"apart": {"usage.cost_usd": 3}})
    assert not said_well("whole", report, 9, {"apart": {"usage.cost_usd": 2}})
    assert "--update" in capsys.readouterr().out
    assert not said_well(
        "whole", Report(disagreements=[("a", "b", "no.such", "native 1 litellm 2")]), 9, None
    )
    assert not said_well("whole", Report(differences=[("native", "b", "text", "wanted got")]), 9, None)


def test_recorded_requests_go_out_as_they_were_recorded():
    """Read into the contract and encoded again by the native engine: equal in meaning."""
    if not wire_folder().is_dir():
        pytest.skip(f"there are no recordings at {wire_folder()}: set OMNI_WIRE to their folder")
    rust = offline.Offline()
    for protocol in offline.PROTOCOLS:
        found = offline.played(rust, protocol, what="requests")
        assert found.requests.total() > 500, protocol
        assert found.well, found.shown[:10]


@pytest.mark.parametrize("cut", CUTS)
def test_exchanges_of_our_own_come_out_as_they_are_meant(cut: str):
    """Held everywhere: what the answers mean is written beside them, and no recording is needed."""
    chosen = [case for case in own_cases() if cut == "whole" or case.interaction.streamed]
    assert len(chosen) == (40 if cut == "whole" else 20)
    report = asyncio.run(run(chosen, cut))
    assert report.differences == []
    assert report.equal == report.sent == len(chosen)


def test_the_plain_reading_agrees_with_what_our_own_exchanges_mean():
    for case in own_cases():
        read = reading.READERS[case.endpoint](case.interaction.body, case.interaction.streamed)
        assert isinstance(read, reading.Answer)
        read.reasoning = [text] if (text := "".join(read.reasoning)) else []
        read.also = []
        assert read == case.want, case.name


def test_the_committed_numbers_are_what_the_issue_asks_for():
    assert EXPECTED["equal"] >= 0.995 * EXPECTED["sent"]
    assert EXPECTED["sent"] > 4000


CHAT = {
    "id": "c",
    "model": "m",
    "choices": [
        {
            "index": 0,
            "finish_reason": "tool_calls",
            "message": {
                "role": "assistant",
                "content": "text",
                "reasoning_content": "why",
                "tool_calls": [
                    {"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
                ],
            },
        }
    ],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}
REPLY = {
    "content": "text",
    "refusal": None,
    "reasoning": [{"type": "reasoning", "text": "why"}],
    "tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": '{"a":1}'}}],
    "finish_reason": "tool_calls",
    "usage": {"input_tokens": 3, "output_tokens": 4},
    "message": {"role": "assistant", "content": "text"},
}


def case_of(body: str, endpoint: str = "chat/completions") -> Case:
    interaction = Interaction(endpoint, 200, body)
    return Case(
        "here",
        "demo",
        endpoint,
        "made",
        interaction,
        {},
        reading.READERS[endpoint](body, interaction.streamed),
    )


def test_the_comparison_sees_every_difference():
    case = case_of(json.dumps(CHAT))
    assert compare(case, REPLY, None) == []
    wrong = {
        "text": {"content": "Text"},
        "refusal": {"refusal": "no"},
        "reasoning": {"reasoning": []},
        "calls": {"tool_calls": []},
        "finish": {"finish_reason": "stop"},
        "usage": {"usage": {"input_tokens": 3, "output_tokens": None}},
        "signatures": {
            "message": {"role": "assistant", "content": [{"type": "text", "text": "text", "signature": "s"}]}
        },
    }
    for name, change in wrong.items():
        assert name in [found for found, _ in compare(case, {**REPLY, **change}, None)], name


def test_an_answer_where_an_error_was_due_is_a_difference():
    assert compare(case_of('{"error": {"message": "no"}}'), REPLY, None)
    assert compare(case_of('{"choices": null}'), REPLY, None)


@pytest.mark.parametrize(
    ("usage", "dollars", "kind"),
    [
        # gpt-5: $1.25 for a million tokens asked, $10 for a million answered.
        ({"prompt_tokens": 100, "completion_tokens": 10}, 0.000225, "equal"),
        ({"prompt_tokens": 100, "completion_tokens": 10}, 0.000226, "different"),
        ({"prompt_tokens": 100, "completion_tokens": 10}, None, "different"),
        ({"prompt_tokens": 100, "completion_tokens": 10, "cost": 0.5}, 0.5, "told"),
        ({"prompt_tokens": 100, "completion_tokens": 10, "cost": 0.5}, 0.4, "different"),
        ({"prompt_tokens": 100, "completion_tokens": 10, "num_cached_tokens": 80}, 0.000135, "cached"),
        ({"prompt_tokens": 100, "completion_tokens": 10, "num_cached_tokens": 80}, 0.000136, "different"),
    ],
)
def test_a_cost_that_is_not_litellms_is_found(usage: dict[str, float], dollars: float | None, kind: str):
    case = case_of(json.dumps({**CHAT, "model": "gpt-5", "usage": usage}))
    case.request["model"] = "openai/gpt-5"
    case.interaction = dataclasses.replace(case.interaction, request_body=json.dumps({"model": "gpt-5"}))
    found = costs.judged([(case, dollars, 1_700_568_000)])
    assert dict(found.kinds) == {kind: 1}, found.unexplained
    assert costs_are_well(found, 9, {"costs": found.kinds}) == (kind != "different")
    assert costs_are_well(found, 9, {"costs": {}}) == (kind == "equal")


def test_a_gemini_text_stands_for_a_content_its_parts_or_one_of_them():
    texts = {"systemInstruction": "s", "contents": ["a", {"role": "model", "parts": "b"}, {"parts": ["c"]}]}
    request = rebuild.request_of("gemini", "generateContent", "/models/m:generateContent", json.dumps(texts))
    told = [(one["role"], one["content"]) for one in request["messages"]]
    assert told == [
        ("system", "s"),
        ("user", [{"type": "text", "text": "a"}]),
        ("assistant", [{"type": "text", "text": "b"}]),
        ("user", [{"type": "text", "text": "c"}]),
    ]


def test_gemini_tools_may_be_one_and_in_snake_case():
    wire = {"contents": "a", "tools": {"function_declarations": [{"name": "f"}]}}
    request = rebuild.request_of("gemini", "generateContent", "/models/m:generateContent", json.dumps(wire))
    assert [tool["function"]["name"] for tool in request["tools"]] == ["f"]


def test_the_plain_reading_of_each_wire():
    anthropic = {
        "type": "message",
        "content": [
            {"type": "thinking", "thinking": "t", "signature": "s"},
            {"type": "server_tool_use", "id": "1", "name": "web_search", "input": {}},
            {"type": "text", "text": "x"},
        ],
        "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "cache_read_input_tokens": 2, "output_tokens": 3},
    }
    answer = reading.messages(json.dumps(anthropic), stream=False)
    assert (answer.text, answer.reasoning, answer.signatures, answer.calls) == ("x", ["t"], ["s"], [])
    assert (answer.finish, answer.usage) == ("stop", (3, 3))
    last = {"type": "response.completed", "response": {"status": "completed", "output": []}}
    events = f"event: response.completed\r\ndata: {json.dumps(last)}\r\n\r\n"
    assert reading.responses(events, stream=True).finish == "stop"
    assert isinstance(reading.responses("", stream=True), reading.Refused)
