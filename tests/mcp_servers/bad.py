"""An MCP server that does one thing wrong, by name. Standard library only; the tests of rust/agent start it.

    python bad.py KIND [ARGUMENT]

It is small on purpose: it reads a line, writes a line, and knows only as much of the protocol as
a client needs.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

KIND = sys.argv[1] if len(sys.argv) > 1 else "good"
ARGUMENT = sys.argv[2] if len(sys.argv) > 2 else ""
LOCK = threading.Lock()

Message = dict[str, Any]


def write(message: Message | str) -> None:
    text = message if isinstance(message, str) else json.dumps(message)
    with LOCK:
        sys.stdout.write(text + "\n")
        sys.stdout.flush()


def note(text: str) -> None:
    """Adds a line to the file that the test reads: what this server has seen."""
    with Path(ARGUMENT).open("a", encoding="utf-8") as file:
        file.write(text + "\n")


def result(request: Message, value: Any) -> None:
    write({"jsonrpc": "2.0", "id": request["id"], "result": value})


def error(request: Message, code: int, message: str) -> None:
    write({"jsonrpc": "2.0", "id": request["id"], "error": {"code": code, "message": message}})


def notify(method: str, **params: Any) -> None:
    write({"jsonrpc": "2.0", "method": method, "params": params})


def text(value: str, **more: Any) -> Message:
    return {"content": [{"type": "text", "text": value}], **more}


def tool(name: str, **more: Any) -> Message:
    return {"name": name, "inputSchema": {"type": "object", "properties": {}}, **more}


TOOLS = [
    tool("echo", description="Says it again.", annotations={"readOnlyHint": True}),
    tool("bad"),
    tool("env"),
]


def capabilities() -> Message:
    if KIND == "no_tools":
        return {}
    return {
        "tools": {"listChanged": KIND not in ("static", "pages")},
        "resources": {},
        "prompts": {},
        "logging": {},
    }


def page(params: Message, items: list[Any], key: str) -> Message:
    """Two entries a page; the cursor is the place of the next one."""
    start = int(params.get("cursor") or 0)
    found: Message = {key: items[start : start + 2]}
    if start + 2 < len(items):
        found["nextCursor"] = str(start + 2)
    return found


def list_tools(request: Message, params: Message) -> None:
    if ARGUMENT and KIND in ("static", "changes"):
        note("tools/list")
    if KIND == "endless_list":
        result(request, {"tools": [tool("echo")], "nextCursor": "again"})
    elif KIND == "pages":
        result(request, page(params, [tool(f"tool{number}") for number in range(5)], "tools"))
    elif KIND == "twice":
        result(request, {"tools": [tool("echo", description="first"), tool("echo", description="second")]})
    elif KIND == "bad_list":
        result(request, {"tools": 7})
    else:
        result(request, {"tools": TOOLS})


def call(request: Message, params: Message) -> None:
    name, arguments = params.get("name"), params.get("arguments") or {}
    if name == "echo":
        result(request, text(str(arguments.get("text", ""))))
    elif name == "env":
        result(request, text(json.dumps(dict(os.environ))))
    elif name == "pid":
        result(request, text(str(os.getpid())))
    elif name == "bad":
        threading.Thread(target=misbehave, args=(request, arguments), daemon=True).start()
    else:
        error(request, -32602, f"there is no tool {name}")


Deed = Callable[[Message, Message], None]
# What the tool `bad` does, by kind of server.
DEEDS: dict[str, Deed] = {}


def does(kind: str) -> Callable[[Deed], Deed]:
    def add(deed: Deed) -> Deed:
        DEEDS[kind] = deed
        return deed

    return add


def misbehave(request: Message, arguments: Message) -> None:
    deed = DEEDS.get(KIND)
    if deed is None:
        result(request, text("nothing wrong here"))
    else:
        deed(request, arguments)


@does("crash_in_call")
def crash(request: Message, arguments: Message) -> None:
    sys.stderr.write("about to fall over\n")
    sys.stderr.flush()
    os._exit(3)


@does("garbage")
def garbage(request: Message, arguments: Message) -> None:
    write("this is no JSON at all")
    result(request, "not an object")


@does("wrong_shape")
def wrong_shape(request: Message, arguments: Message) -> None:
    result(request, {"content": [{"type": "text"}]})


@does("other_result")
def other_result(request: Message, arguments: Message) -> None:
    result(request, {"prompts": []})


@does("bad_image")
def bad_image(request: Message, arguments: Message) -> None:
    result(request, {"content": [{"type": "image", "data": "###", "mimeType": "image/png"}]})


@does("flood_line")
def flood_line(request: Message, arguments: Message) -> None:
    """One message of 64 MB; the id stands first, as Python writes it."""
    head = json.dumps({"jsonrpc": "2.0", "id": request["id"], "result": {"content": ""}})[: -len('"}}')]
    with LOCK:
        sys.stdout.write(head)
        for _ in range(60):
            sys.stdout.write("x" * 1_000_000)
        sys.stdout.write('"}}\n')
        sys.stdout.flush()


@does("flood_garbage")
def flood_garbage(request: Message, arguments: Message) -> None:
    with LOCK:
        while True:
            sys.stdout.write("y" * 1_000_000 + "\n")


@does("flood_pings")
def flood_pings(request: Message, arguments: Message) -> None:
    """Nobody takes the answers: `main` has stopped reading."""
    with LOCK:
        for number in range(100_000):
            ping = {"jsonrpc": "2.0", "id": f"p{number}", "method": "ping"}
            sys.stdout.write(json.dumps(ping) + "\n")
        sys.stdout.flush()


@does("flood_notices")
def flood_notices(request: Message, arguments: Message) -> None:
    for number in range(20_000):
        notify("notifications/message", level="info", data=f"line {number}")
    result(request, text("done"))


@does("never")
def never(request: Message, arguments: Message) -> None:
    if ARGUMENT:
        note(f"called {request['id']}")


@does("progress")
def progress(request: Message, arguments: Message) -> None:
    token = (request["params"].get("_meta") or {}).get("progressToken")
    for number in range(1, 101):
        step = {"progress": number, "total": 100, "message": f"step {number}"}
        notify("notifications/progress", progressToken=token, **step)
    result(request, text("done"))


@does("changes")
def changes(request: Message, arguments: Message) -> None:
    TOOLS.append(tool(str(arguments.get("name", "new"))))
    notify("notifications/tools/list_changed")
    result(request, text("changed"))


@does("asks")
def asks(request: Message, arguments: Message) -> None:
    message = {"role": "user", "content": {"type": "text", "text": "hi"}}
    schema = {"type": "object", "properties": {}}
    asked: dict[str, Message] = {
        "sampling/createMessage": {"messages": [message], "maxTokens": 5},
        "roots/list": {},
        "elicitation/create": {"message": "name?", "requestedSchema": schema},
        "ping": {},
        "no/such/method": {},
    }
    answers = {method: question(method, params) for method, params in asked.items()}
    result(request, text(json.dumps(answers)))


@does("fails")
def fails(request: Message, arguments: Message) -> None:
    result(request, text("it did not work", isError=True))


@does("refuses")
def refuses(request: Message, arguments: Message) -> None:
    error(request, -32603, "something inside broke")


@does("logs")
def logs(request: Message, arguments: Message) -> None:
    notify("notifications/message", level="warning", logger="disk", data="nearly full")
    result(request, text("logged"))


WAITING: dict[str, tuple[threading.Event, Message]] = {}


def question(method: str, params: Message) -> Message:
    """Asks the client, and waits for its answer."""
    name = f"q/{method}"
    WAITING[name] = (threading.Event(), {})
    write({"jsonrpc": "2.0", "id": name, "method": method, "params": params})
    event, answer = WAITING[name]
    return answer if event.wait(10) else {"timeout": True}


def handle(message: Message) -> None:
    method, params = message.get("method"), message.get("params") or {}
    if method is None:
        waiting = WAITING.get(str(message.get("id")))
        if waiting:
            waiting[1].update(message)
            waiting[0].set()
    elif method == "initialize":
        info = {"name": "bad", "version": "1"}
        version = params.get("protocolVersion")
        result(message, {"protocolVersion": version, "capabilities": capabilities(), "serverInfo": info})
    elif method == "notifications/cancelled":
        if KIND == "never" and ARGUMENT:
            note(f"cancelled {params.get('requestId')}")
    elif "id" not in message:
        pass
    elif method == "tools/list":
        list_tools(message, params)
    elif method == "tools/call":
        call(message, params)
    elif method == "resources/list":
        items = [{"uri": f"mem:{number}", "name": f"r{number}"} for number in range(5)]
        result(message, page(params, items, "resources"))
    elif method == "prompts/list":
        items = [{"name": f"p{number}"} for number in range(5)]
        result(message, page(params, items, "prompts"))
    elif method == "ping":
        result(message, {})
    else:
        error(message, -32601, f"no method {method}")


def grandchild(*, ignores_term: bool) -> None:
    code = "import signal, time\n"
    if ignores_term:
        code += "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    code += "print('ready', flush=True)\ntime.sleep(600)"
    command = [sys.executable, "-c", code]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    assert child.stdout is not None
    child.stdout.readline()
    note(f"{os.getpid()} {child.pid}")


def before_start() -> None:
    if KIND == "crash_at_start":
        sys.stderr.write("cannot find my database\n")
        sys.exit(7)
    elif KIND == "crash_once" and not Path(ARGUMENT).exists():
        note("crashed")
        sys.exit(7)
    elif KIND == "never_starts":
        if ARGUMENT:
            note(str(os.getpid()))
        time.sleep(600)
    elif KIND == "garbage_at_start":
        write("Welcome to the server!")
        write("x" * 100_000)
    elif KIND == "stderr_flood":
        for number in range(50_000):
            sys.stderr.write(f"noise {number} {'z' * 80}\n")
        sys.stderr.flush()
    elif KIND == "grandchild":
        grandchild(ignores_term=False)
    elif KIND == "stubborn":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        grandchild(ignores_term=True)


def main() -> None:
    before_start()
    for line in sys.stdin:
        if line.strip():
            handle(json.loads(line))
        if KIND == "flood_pings" and '"bad"' in line:
            time.sleep(600)
    if KIND == "stubborn":
        time.sleep(600)


if __name__ == "__main__":
    main()
