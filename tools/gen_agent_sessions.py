"""docs/reference/agent-sessions.md: what a store of sessions holds and what is read from it, from its source.

rust/agent/src/session/schema.rs, rebuild.rs    the tables, with what is said beside their columns
rust/agent/src/session.rs, protocol.rs          the documents
rust/agent/src/session/transfer.rs              what is exported and imported

python tools/gen_agent_sessions.py --write   writes it
python tools/gen_agent_sessions.py --check   exits 1 with a diff and the mending command if it is stale
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

from _written import ROOT, settled, writes

SESSION = "rust/agent/src/session.rs"
SCHEMA = "rust/agent/src/session/schema.rs"
REBUILD = "rust/agent/src/session/rebuild.rs"
TRANSFER = "rust/agent/src/session/transfer.rs"
PROTOCOL = "rust/agent/src/protocol.rs"
PAGE = "docs/reference/agent-sessions.md"
MEND = "python tools/gen_agent_sessions.py --write"

HEAD = """\
# Sessions of an agent

<!-- Written by tools/gen_agent_sessions.py from rust/agent/src/session; mend it with: make fix -->

A store is one SQLite file. What stands in it is described here for those who read it with their own tools:
only the agent writes it, and a file of a newer version is refused and left as it is. What the store answers
is the same in Rust, in Python (`agent.sessions`), in `omni sessions … --json` and over HTTP. A field with `?`
may be absent.

"""
DOCUMENTS = [
    (SESSION, "SessionInfo"),
    (SESSION, "StoredMessage"),
    (SESSION, "SearchHit"),
    (PROTOCOL, "TurnUsage"),
    (PROTOCOL, "ForkOrigin"),
]
TRANSFERS = [
    ("export_log", "`omni sessions export ID`, `agent.sessions.export`"),
    ("import_log", "`omni sessions import FILE`, `agent.sessions.import_log`"),
    ("export_messages", "`omni sessions export ID --format openai`, `agent.sessions.export_messages`"),
    ("import_messages", "`omni sessions import FILE`"),
]
JSON = {"String": "string", "u64": "integer", "u32": "integer", "f64": "number", "bool": "boolean"}


class UnreadError(Exception):
    """The source has another form than this program knows."""


def one(pattern: str, text: str, what: str) -> re.Match[str]:
    found = re.search(pattern, text, re.MULTILINE | re.DOTALL)
    if found is None:
        message = f"{what} is not where it was; mend this program"
        raise UnreadError(message)
    return found


def cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def comment(lines: str, mark: str) -> str:
    """The words of comment lines that begin with a mark."""
    return " ".join(line.strip().removeprefix(mark).strip() for line in lines.strip().splitlines())


# ------------------------------------------------------------------------------------------------ tables


def steps(source: str) -> list[str]:
    """What is said of each version, in order."""
    body = one(r"^const STEPS: &\[Step\] = &\[\n(.*?)^\];", source, "STEPS")[1]
    said = re.findall(r"^((?:    // [^\n]*\n)+)    \|connection\| \{", body, re.MULTILINE)
    if len(said) != body.count("\n    |connection| {") + body.startswith("    |connection| {"):
        message = "a step of STEPS has no comment"
        raise UnreadError(message)
    return [comment(lines, "//") for lines in said]


def tables(source: str) -> str:
    out = ""
    for name, body, end in re.findall(r"CREATE TABLE (\w+) \(\n(.*?)\n +\) ([^;]*);", source, re.DOTALL):
        rows = ""
        keys: list[str] = []
        for line in map(str.strip, body.splitlines()):
            column = re.fullmatch(r"([a-z_]+) ([A-Z][^-]*?),? -- (.+)", line)
            if column is not None:
                rows += f"| `{column[1]}` | `{column[2]}` | {cell(column[3])} |\n"
            elif re.match(r"(UNIQUE|PRIMARY KEY) \(", line):
                keys.append(f"`{line}`")
            else:
                message = f"{SCHEMA}: nothing says what this column of {name} is: {line}"
                raise UnreadError(message)
        out += f"### `{name}`\n\n| column | type | |\n|---|---|---|\n{rows}\n"
        out += ", ".join([*keys, f"`{end}`"]) + ".\n\n"
    return out


def search_table(source: str) -> str:
    found = one(r"CREATE VIRTUAL TABLE (\w+) USING (fts5 \(.*?\));", source, "the table for searching")
    name, body = found.groups()
    said = comment(one(r"^((?:/// [^\n]*\n)+)pub\(super\) fn index\b", source, "fn index")[1], "///")
    return f"### `{name}`\n\n{said} `{cell(body)}`. `rowid` is the `id` of the message's event.\n\n"


# --------------------------------------------------------------------------------------------- documents


def shown(kind: str) -> str:
    inner = re.fullmatch(r"Option<(.+)>", kind)
    if inner is not None:
        return f"{shown(inner[1])} or null"
    if kind == "Message":
        return "a message of [the contract](request.md)"
    return JSON.get(kind) or f"[{kind}](#{kind.lower()})"


def document(source: str, name: str) -> str:
    found = one(
        rf"^((?:/// [^\n]*\n)+)(?:#\[[^\n]*\n)*pub struct {name} \{{\n(.*?)^\}}", source, f"struct {name}"
    )
    rows = ""
    fields = re.findall(r"((?:    /// [^\n]*\n)+)((?:    #\[[^\n]*\n)*)    pub (\w+): ([^\n]+),\n", found[2])
    if len(fields) != len(re.findall(r"^    pub ", found[2], re.MULTILINE)):
        message = f"a field of {name} has no comment"
        raise UnreadError(message)
    for said, serde, field, declared in fields:
        absent = "skip_serializing_if" in serde
        mark, kind = ("?", declared.removeprefix("Option<").removesuffix(">")) if absent else ("", declared)
        rows += f"| `{field}{mark}` | {shown(kind)} | {cell(comment(said, '///'))} |\n"
    return f"### {name}\n\n{comment(found[1], '///')}\n\n| field | type | |\n|---|---|---|\n{rows}\n"


def transfer(source: str, name: str, where: str) -> str:
    said = comment(one(rf"^((?:/// [^\n]*\n)+)pub async fn {name}\b", source, f"fn {name}")[1], "///")
    # Links of rustdoc lead nowhere here.
    said = re.sub(r"\[(`\w+`)\]", r"\1", said)
    return f"| `{name}` | {where} | {cell(said)} |\n"


def page(root: Path) -> str:
    def read(path: str) -> str:
        return (root / path).read_text(encoding="utf-8")

    schema = read(SCHEMA)
    said = steps(schema)
    out = [HEAD, "## What the store answers\n\n"]
    out.extend(document(read(path), name) for path, name in DOCUMENTS)
    out.append("## What is exported and imported\n\n")
    out.append("A log is [events](agent-events.md), one JSON object a line, in the order of their `seq`; ")
    out.append("only durable ones are in it.\n\n| function | where | |\n|---|---|---|\n")
    out.extend(transfer(read(TRANSFER), name, where) for name, where in TRANSFERS)
    out.append(
        "\n## The tables\n\n`PRAGMA application_id` marks the file as ours, `PRAGMA user_version` is its "
    )
    out.append("version:\n\n")
    out.extend(f"{version}. {words}\n" for version, words in enumerate(said, 1))
    out.append("\n" + tables(schema) + search_table(read(REBUILD)))
    return "".join(out).rstrip() + "\n"


def main() -> int:
    write = writes(__doc__)
    try:
        new = page(ROOT)
    except UnreadError as error:
        print(f"gen_agent_sessions: {error}")
        return 1
    return settled({ROOT / PAGE: new}, write=write, source="the source", mend=MEND)


if __name__ == "__main__":
    sys.exit(main())
