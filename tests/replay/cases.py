"""Which recorded exchanges are sent, and why the others are not."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omni_bridge.testing import Cassette, Interaction

from . import reading, rebuild

ROOT = Path(__file__).resolve().parents[2]

NATIVE = {
    "chat/completions": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic",
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
}
"""The endpoints that the native engine speaks, and its protocols' names for them."""

CUTS = ("whole", "byte", "utf8", "crlf", "random(7)")


def wire_folder() -> Path:
    """The corpus: `OMNI_WIRE`, or `shared/wire` beside the repository."""
    return Path(os.environ.get("OMNI_WIRE") or ROOT.parent / "shared" / "wire")


@dataclass
class Case:
    """One recorded exchange: what to ask, what serves the answer, what the answer says."""

    corpus: str
    file: str
    endpoint: str
    name: str
    interaction: Interaction = field(repr=False)
    request: dict[str, Any] = field(default_factory=dict, repr=False)
    want: reading.Answer | reading.Refused | None = field(default=None, repr=False)
    reason: str | None = None
    """Why it is not applicable; None if it is sent."""

    @property
    def row(self) -> tuple[str, str]:
        endpoint = self.endpoint + (" (stream)" if self.interaction.streamed else "")
        return self.file, endpoint if self.interaction.status == 200 else self.endpoint + " (error)"

    @property
    def cassette(self) -> Cassette:
        return Cassette(self.name, self.file, [self.interaction])


def cases(folder: Path | None = None, only: str = "") -> Iterator[Case]:
    """Every recorded exchange, with the reason where it is not one to be sent."""
    import gzip

    folder = folder or wire_folder()
    for path in sorted(folder.glob("*/*.jsonl.gz")):
        if only and only not in str(path):
            continue
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                tape = Cassette.from_json(json.loads(line))
                for number, interaction in enumerate(tape.interactions):
                    case = Case(
                        path.parent.name,
                        path.name.removesuffix(".jsonl.gz"),
                        interaction.endpoint,
                        f"{path.parent.name}/{tape.name}#{number}",
                        interaction,
                    )
                    _prepare(case)
                    yield case


def _prepare(case: Case) -> None:
    interaction = case.interaction
    if case.endpoint == "converse-stream":
        case.reason = "its body is a binary event stream, which did not survive as text in the recordings"
        return
    if case.endpoint not in reading.READERS or interaction.method != "POST":
        case.reason = "not a chat call"
        return
    if case.endpoint == "invoke" and "messages" not in interaction.request_body:
        case.reason = "not a chat call"
        return
    if (
        case.endpoint == "responses"
        and interaction.url.rstrip("/").rsplit("/", 1)[-1].split("?")[0] != "responses"
    ):
        case.reason = "another call of the responses API (count, compact, cancel)"
        return
    if not interaction.body.strip():
        case.reason = "the recording has no body"
        return
    try:
        case.request = rebuild.request_of(case.file, case.endpoint, interaction.url, interaction.request_body)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        case.reason = f"no contract request: {type(error).__name__} {error}"
        return
    if json.loads(interaction.request_body).get("n") not in (None, 1):
        case.reason = "asks for several answers (n)"
        return
    if interaction.status != 200:
        case.want = reading.Refused("status")
        return
    status = None
    if case.endpoint == "responses" and not interaction.streamed:
        status = json.loads(interaction.body).get("status")
    if status in ("queued", "in_progress", "cancelled"):
        case.reason = "a background response that is not finished"
        return
    try:
        case.want = reading.READERS[case.endpoint](interaction.body, interaction.streamed)
    except json.JSONDecodeError:
        case.want = reading.Refused("protocol")
