"""Checked by pyright in strict mode: an event's type tells what its payload is."""

from __future__ import annotations

from omni_bridge.agent_types import AgentEvent, AgentEventDict, EventType, Op, event_of
from typing_extensions import assert_type


def by_attribute(event: AgentEvent) -> str:
    if event.event_type == "assistant.stream.chunk":
        return event.payload["text"]
    if event.event_type == "tool.execution.denied":
        return f"{event.payload['by']}: {event.payload['reason']}"
    return event.event_type


def by_key(event: AgentEventDict) -> int:
    if event["event_type"] == "agent.turn.completed":
        assert_type(event["payload"]["rounds"], int)
        return event["payload"]["usage"]["output_tokens"]
    return event["timestamp_ms"]


def ops(call_id: str) -> list[Op]:
    return [
        {"op": "cancel"},
        {"op": "approve", "call_id": call_id, "decision": {"decision": "approve", "scope": "session"}},
        {"op": "approve", "call_id": call_id, "decision": {"decision": "deny", "reason": "not now"}},
    ]


def kinds(documents: list[dict[str, object]]) -> list[EventType]:
    return [event_of(document).event_type for document in documents]
