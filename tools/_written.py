"""What every generator's command does: write its files anew, or say which are stale and what mends them."""

from __future__ import annotations

import argparse
import difflib
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).resolve().parent.parent
SHOWN = 200  # lines of a difference; a picture's are long


def writes(doc: str | None) -> bool:
    """Whether the command line says `--write`; else it says `--check`."""
    parser = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    mode = parser.add_mutually_exclusive_group(required=True)
    mode.add_argument("--check", action="store_true")
    mode.add_argument("--write", action="store_true")
    write: bool = parser.parse_args().write
    return write


def settled(files: Mapping[Path, str], *, write: bool, source: str, mend: str) -> int:
    """The exit code: 1 if a file is not what `source` gives, which is told with what mends it."""
    stale = 0
    for path, new in files.items():
        old = path.read_text(encoding="utf-8") if path.exists() else ""
        if old == new:
            continue
        if write:
            path.write_text(new, encoding="utf-8")
            continue
        stale += 1
        name = str(path.relative_to(ROOT))
        diff = difflib.unified_diff(old.splitlines(), new.splitlines(), name, source, lineterm="", n=2)
        print("\n".join(line[:SHOWN] for line in list(diff)[:SHOWN]))
        print(f"{name} is not what {source} gives; mend it with: {mend}")
    return 1 if stale else 0
