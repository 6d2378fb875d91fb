"""tests/vectors/*.json: the golden documents of the contract, written out from the plain data below.

    python tools/gen_vectors.py --write   writes them
    python tools/gen_vectors.py --check   exits 1 and names the mending command if one differs

Nothing of ours is imported: a vector says what must be, not what is. Each file is one vector:

    kind       request | reply | events | error
    about      what it protects
    document   the document as a user or a provider writes it (events: documents)
    expect     request, reply, error: as it comes out of every door, where that differs from `document`;
               events: the reply that folding them gives
    expect_documents   events: as they come out, where that differs
    finish     events: the private last document of the Python engine, in place of the last event
    refused    request: {code, starts}: the error that it must give, and how its message begins
    traits     error: {number, http_status, python}

An object {"$repeat": [text, times]} stands for that text repeated, so that a megabyte needs no megabyte here.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from _written import ROOT, writes
from vectors_events import VECTORS

FOLDER = ROOT / "tests/vectors"
MEND = "python tools/gen_vectors.py --write"


def text_of(vector: dict[str, Any]) -> str:
    # ASCII: lone surrogates can only be written as escapes.
    return json.dumps(vector, indent=1, ensure_ascii=True) + "\n"


def main() -> int:
    write = writes(__doc__)
    wanted = {f"{name}.json": text_of(vector) for name, vector in VECTORS.items()}
    have = {path.name: path.read_text(encoding="ascii") for path in FOLDER.glob("*.json")}
    stale = sorted(name for name in wanted.keys() | have.keys() if wanted.get(name) != have.get(name))
    if write:
        FOLDER.mkdir(exist_ok=True)
        for name in stale:
            if name in wanted:
                (FOLDER / name).write_text(wanted[name], encoding="ascii")
            else:
                (FOLDER / name).unlink()
        return 0
    for name in stale:
        print(f"gen_vectors: tests/vectors/{name} is not what tools/vectors_*.py give; mend it with: {MEND}")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main())
