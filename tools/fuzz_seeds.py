"""Seeds for the fuzzer: what providers said and what was asked of them, as small inputs in fuzz/corpus.

    python tools/fuzz_seeds.py

Recorded answers (`OMNI_WIRE`, or `shared/wire` beside the repository) become seeds of their protocol and of
the SSE reader; recorded requests, rebuilt as the replay does it, and the vectors become seeds of `request`.
Of each kind the smallest that has something new is taken, so that a target begins with everything that it can
meet, in little. Without recordings the targets begin with the vectors and with fuzz/seeds alone.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.replay import rebuild  # noqa: E402 - the repository is no package that is installed

CORPUS = ROOT / "fuzz" / "corpus"
MOST = 120
"""Seeds of a target."""
LARGEST = 12_000
"""Bytes of a seed: short ones are run more often."""

PROTOCOLS = {
    "chat/completions": "openai_chat",
    "responses": "openai_responses",
    "messages": "anthropic",
    "invoke": "anthropic",
    "generateContent": "gemini",
    "streamGenerateContent": "gemini",
}

# The names and the words of a document that say of what kind it is; not what it tells.
SHAPE = re.compile(
    r'"[A-Za-z_]+": ?(?=[\[{"\dntf-])(?:["\[{]|null)?|"(?:type|finish_?[rR]eason|stop_reason|status)": ?"\w+"'
)


def shape(text: str) -> frozenset[str]:
    return frozenset(SHAPE.findall(text))


def thinned(body: str) -> str:
    """A stream without the events that repeat what stood before: two of a kind are enough."""
    seen: dict[frozenset[str], int] = {}
    kept = []
    blocks = re.split(r"(?<=\n)(?=\r?\n)", body)
    for block in blocks:
        kind = shape(block)
        seen[kind] = seen.get(kind, 0) + 1
        if seen[kind] <= 2 or block is blocks[-1]:
            kept.append(block)
    return "".join(kept)


def recorded() -> Iterator[tuple[str, str]]:
    """(target, text) of every recording that is worth a look."""
    folder = Path(os.environ.get("OMNI_WIRE") or ROOT.parent / "shared" / "wire")
    for path in sorted(folder.glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                for exchange in json.loads(line)["interactions"]:
                    target = PROTOCOLS.get(exchange["endpoint"])
                    body = exchange["response"]["body"]
                    if target and body:
                        streamed = not body.lstrip().startswith(("{", "["))
                        body = thinned(body) if streamed else body
                        yield target, body
                        if streamed:
                            yield "sse", body
                    if target:
                        yield from asked(path.name.removesuffix(".jsonl.gz"), exchange)


def asked(file: str, exchange: dict) -> Iterator[tuple[str, str]]:
    try:
        request = rebuild.request_of(
            file, exchange["endpoint"], exchange["request"]["url"], exchange["request"]["body"]
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return  # what the replay does not send either
    yield "request", json.dumps(request, ensure_ascii=False)


def vectors() -> Iterator[tuple[str, str]]:
    for path in sorted((ROOT / "tests" / "vectors").glob("request-*.json")):
        document = json.loads(path.read_text(encoding="utf-8"))["document"]
        # As JSON text: some vectors hold lone surrogates on purpose.
        yield "request", json.dumps(document)


def main() -> int:
    found: dict[str, set[str]] = {"request": {text for _, text in vectors()}}
    for target, text in recorded():
        if len(text) <= LARGEST:
            found.setdefault(target, set()).add(text)
    for target, texts in sorted(found.items()):
        folder = CORPUS / target
        folder.mkdir(parents=True, exist_ok=True)
        known: set[str] = set()
        written = 0
        for text in sorted(texts, key=lambda text: (len(text), text)):
            if written == MOST or shape(text) <= known:
                continue
            known |= shape(text)
            body = text.encode("utf-8", "surrogatepass")
            digest = hashlib.sha256(body).digest()
            # The head: flags, and how it is cut.
            (folder / f"seed-{digest.hex()[:16]}").write_bytes(digest[:5] + body)
            written += 1
        print(f"fuzz_seeds: {target}: {written} of {len(texts)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
