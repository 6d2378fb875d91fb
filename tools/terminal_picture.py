"""docs/demo.svg: what `make demo` prints, as a picture of a terminal. Made from a real run, never by hand.

python tools/terminal_picture.py --check    the picture shows what the demo prints now
python tools/terminal_picture.py --write    takes it anew
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import textwrap
from xml.sax.saxutils import escape

from _written import ROOT, settled, writes

PICTURE = ROOT / "docs/demo.svg"
COLUMNS, CHARACTER, LINE, MARGIN, BAR = 92, 8.4, 21, 20, 36
PAPER, INK, SOFT, PROMPT = "#1b1f24", "#e6e6e6", "#8b949e", "#7ee787"


def shown() -> list[str]:
    """The demo's lines, from the offline provider, whatever keys and servers this machine has."""
    env = {**os.environ, "OMNI_DEMO_OFFLINE": "1"}
    done = subprocess.run(
        [sys.executable, "tools/demo.py"], cwd=ROOT, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise SystemExit(f"the demo ended with exit code {done.returncode}:\n{done.stdout}{done.stderr}")
    lines: list[str] = []
    for line in still(done.stdout).rstrip().splitlines():
        lines += textwrap.wrap(line, COLUMNS, subsequent_indent="  ") or [""]
    return lines


STILL = [
    (r"\d{4}-\d\d-\d\d([T ])\d\d:\d\d(:\d\d)?", r"2026-11-27\g<1>18:30\g<2>"),
    (r"(?<=18:30):\d\d", ":00"),
    (r"\b\d+ ms\b|\b\d+\.\d s\b", "9 ms"),
    (r"(?<=session )\S+|^[\w-]{20,}(?=  )", "s-01kc8w2v9x"),
    (r'(?<="day_of_week": ")\w+', "Friday"),
    (r"[+]0[12]:00", "+01:00"),
    (r'(?<="is_dst": )\w+', "false"),
]


def still(text: str) -> str:
    """What changes from run to run, times and names of sessions, as it was in one."""
    for pattern, shows in STILL:
        text = re.sub(pattern, shows, text, flags=re.MULTILINE)
    return text


def draw(lines: list[str]) -> str:
    width = round(COLUMNS * CHARACTER + 2 * MARGIN)
    height = BAR + (len(lines) + 1) * LINE + MARGIN
    font = 'font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="14"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img" {font}>',
        f'<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>',
    ]
    for n, fill in enumerate(("#ff5f56", "#ffbd2e", "#27c93f")):
        parts.append(f'<circle cx="{MARGIN + n * 20}" cy="18" r="6" fill="{fill}"/>')
    parts.append(text(0, "$ make demo", PROMPT))
    for row, line in enumerate(lines, 1):
        parts.append(text(row, line, SOFT if line.startswith("demo:") else INK))
    return "\n".join([*parts, "</svg>"]) + "\n"


def text(row: int, line: str, fill: str) -> str:
    y = BAR + (row + 0.7) * LINE
    return f'<text x="{MARGIN}" y="{y:.0f}" fill="{fill}" xml:space="preserve">{escape(line)}</text>'


def main() -> int:
    write = writes(__doc__)
    return settled({PICTURE: draw(shown())}, write=write, source="the demo", mend="make fix")


if __name__ == "__main__":
    sys.exit(main())
