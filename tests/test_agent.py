"""The agent from Python: tools, events, approvals, cancel, sessions. The provider is the offline one."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
import gc
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import omni_bridge
import pytest
from omni_bridge import Agent, InvalidRequestError, NotFoundError, Run, UnsupportedError
from omni_bridge.testing import DemoServer
from pydantic import Field

MODEL = "agents/demo"
YES = {"default": "approve"}
WHERE: contextvars.ContextVar[str] = contextvars.ContextVar("where", default="nowhere")


@pytest.fixture(scope="module", autouse=True)
def server() -> Iterator[DemoServer]:
    with DemoServer() as server:
        omni_bridge.register_provider("agents", "openai_chat", f"{server.url}/v1")
        yield server


def agent(*tools: Callable[..., Any], model: str = MODEL, **config: Any) -> Agent:
    return Agent(model, tools, **{"approval": YES, "titles": False, **config})


async def events(run: Run) -> list[Any]:
    return [event async for event in run]


def types(seen: list[Any]) -> list[str]:
    return [event.event_type for event in seen if event.seq is not None]


def test_a_turn_tells_its_events_and_its_outcome():
    async def main() -> None:
        async with agent() as one:
            run = one.run("Say hello.")
            seen = await events(run)
            outcome = await run.outcome()
            assert types(seen)[0] == "session.created"
            assert types(seen)[-1] == "agent.turn.completed"
            assert [event.seq for event in seen if event.seq is not None] == list(
                range(1, len(types(seen)) + 1)
            )
            text = "".join(e.payload["text"] for e in seen if e.event_type == "assistant.stream.chunk")
            assert text == outcome["text"] != ""
            assert outcome["ending"] == "completed"
            assert run.session_id == seen[0].session_id

    asyncio.run(main())


def test_a_coroutine_function_runs_on_the_loop_that_called_run():
    ran: list[object] = []

    async def get_weather(city: str, days: int = 1) -> dict[str, object]:
        "The weather in a city."
        ran.append(asyncio.get_running_loop())
        return {"city": city, "days": days}

    async def main() -> None:
        async with agent(get_weather) as one:
            outcome = await one.run("What is the weather in Paris?").outcome()
            assert outcome["text"] == 'The tool says: {"city":"Paris","days":1}.'
            assert ran == [asyncio.get_running_loop()]

    asyncio.run(main())


def test_a_plain_function_runs_in_a_thread_of_its_own_with_the_callers_context():
    ran: list[tuple[int, str]] = []

    def get_weather(city: str) -> str:
        ran.append((threading.get_ident(), WHERE.get()))
        return city

    async def main() -> None:
        WHERE.set("here")
        async with agent(get_weather) as one:
            await one.run("What is the weather in Paris?").outcome()

    asyncio.run(main())
    [(thread, where)] = ran
    assert thread != threading.get_ident()
    assert where == "here"


HANGS = """
import asyncio, os, threading
import omni_bridge
from omni_bridge import Agent
from omni_bridge.testing import DemoServer

hung = []

def get_weather(city: str) -> str:
    hung.append(city)
    threading.Event().wait()

def get_current_time(timezone: str) -> str:
    return "noon in " + timezone

async def main(base):
    omni_bridge.register_provider("agents", "openai_chat", base)
    tools = [get_weather, get_current_time]
    config = {"approval": {"default": "approve"}, "titles": False, "timeouts": {"tool": 0.5}}
    async with Agent("agents/demo", tools, **config) as agent:
        for _ in range((os.cpu_count() or 1) // 2 + 3):  # more than the loop's own threads, two a turn
            outcome = await agent.run("What is the weather in Paris and Rome?").outcome()
            assert outcome["ending"] == "completed", outcome
        print(len(hung), "hang")
        print((await agent.run("What time is it in Europe/Paris?").outcome())["text"])

with DemoServer() as server:
    asyncio.run(main(server.api_base))
print("ended", flush=True)
"""


def test_tools_that_hang_starve_no_other_and_do_not_keep_the_program():
    done = subprocess.run(
        [sys.executable, "-c", HANGS], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    hang = 2 * ((os.cpu_count() or 1) // 2 + 3)
    assert done.stdout.splitlines() == [
        f"{hang} hang",
        "The tool says: noon in Europe/Paris.",
        "ended",
    ]
    assert done.stderr == ""


@pytest.mark.parametrize("error", [StopIteration("no more"), KeyError("gone")], ids=repr)
def test_what_a_plain_function_raises_is_told_whatever_it_is(error: Exception):
    def get_weather(city: str) -> str:
        raise error

    async def main() -> None:
        async with agent(get_weather) as one:
            run = one.run("What is the weather in Paris?")
            [failed] = [e for e in await events(run) if e.event_type == "tool.execution.failed"]
            assert failed.payload["message"] == f"{type(error).__name__}: {error}"

    asyncio.run(main())


def test_a_blocking_chat_inside_a_tool_works():
    def get_weather(city: str) -> str:
        return omni_bridge.chat([{"role": "user", "content": f"Hello from {city}"}], MODEL).content

    async def main() -> str:
        async with agent(get_weather) as one:
            return (await one.run("What is the weather in Paris?").outcome())["text"]

    assert asyncio.run(main()).startswith("The tool says: ")


def test_tools_of_one_answer_run_at_once():
    async def main() -> None:
        both = asyncio.Event()
        running = 0

        async def get_weather(city: str) -> str:
            nonlocal running
            running += 1
            if running == 2:
                both.set()
            await asyncio.wait_for(both.wait(), 20)
            return city

        async with agent(get_weather) as one:
            outcome = await one.run("What is the weather in Paris and Rome?").outcome()
            assert outcome["text"] == "The tool says: Paris; Rome."

    asyncio.run(main())


def test_what_a_tool_raises_is_told_to_the_model_and_the_turn_goes_on():
    def get_weather(city: str) -> str:
        raise LookupError(f"no station in {city}")

    async def main() -> None:
        async with agent(get_weather) as one:
            run = one.run("What is the weather in Paris?")
            seen = await events(run)
            [failed] = [e for e in seen if e.event_type == "tool.execution.failed"]
            assert failed.payload["message"] == "LookupError: no station in Paris"
            assert "no station in Paris" in (await run.outcome())["text"]

    asyncio.run(main())


def test_arguments_that_do_not_fit_are_told_to_the_model_with_their_path():
    def get_weather(city: Annotated[str, Field(pattern="^[0-9]+$")]) -> str:
        raise AssertionError(f"called with {city}")

    async def main() -> None:
        async with agent(get_weather) as one:
            run = one.run("What is the weather in Paris?")
            [failed] = [e for e in await events(run) if e.event_type == "tool.execution.failed"]
            assert failed.payload["kind"] == "invalid_arguments"
            assert failed.payload["message"].startswith("city: ")
            assert (await run.outcome())["ending"] == "completed"

    asyncio.run(main())


def test_a_denied_call_is_not_run_and_the_model_is_told_why():
    def get_weather(city: str) -> str:
        raise AssertionError("nobody said yes")

    async def main() -> None:
        async with agent(get_weather, approval={"default": "ask"}) as one:
            run = one.run("What is the weather in Paris?")
            async for event in run:
                if event.event_type == "tool.execution.proposed":
                    assert event.payload["needs_approval"]
                    with pytest.raises(NotFoundError):
                        run.approve("t9.9.9")
                    assert event.call_id is not None
                    run.deny(event.call_id, "It rains anyway.")
            assert "It rains anyway." in (await run.outcome())["text"]

    asyncio.run(main())


def test_an_approval_for_the_session_is_asked_once():
    asked: list[str] = []

    def get_weather(city: str) -> str:
        return city

    async def turn(one: Agent, session_id: str | None) -> str:
        run = one.run("What is the weather in Paris?", session_id=session_id)
        async for event in run:
            if event.event_type == "tool.execution.proposed" and event.payload["needs_approval"]:
                assert event.call_id is not None
                asked.append(event.call_id)
                run.approve(event.call_id, "session")
        assert (await run.outcome())["ending"] == "completed"
        assert run.session_id is not None
        return run.session_id

    async def main() -> None:
        async with agent(get_weather, approval={"default": "ask"}) as one:
            await turn(one, await turn(one, None))

    asyncio.run(main())
    assert len(asked) == 1


def test_cancel_in_a_tool_cancels_the_tool_and_the_session_goes_on():
    async def main() -> None:
        begun, ended = asyncio.Event(), asyncio.Event()

        async def get_weather(city: str) -> str:
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                ended.set()
            return city

        async with agent(get_weather) as one:
            run = one.run("What is the weather in Paris?")
            reading = asyncio.create_task(events(run))
            await begun.wait()
            run.cancel()
            assert types(await reading)[-1] == "agent.turn.cancelled"
            await ended.wait()
            session_id = run.session_id
            assert session_id is not None
            stored = [m["message"] for m in await one.sessions.messages(session_id)]
            calls = [call["id"] for message in stored for call in message.get("tool_calls", [])]
            results = [message["tool_call_id"] for message in stored if message["role"] == "tool"]
            assert calls == results != []
            again = await one.run("Say hello.", session_id=session_id).outcome()
            assert again["ending"] == "completed"

    asyncio.run(asyncio.wait_for(main(), 60))


def test_a_reader_that_is_cancelled_cancels_the_turn(server: DemoServer):
    async def main() -> None:
        async with agent(model="agents/demo-chunks-5000-pace-20") as one:
            run = one.run("Go on.")

            async def read() -> None:
                async for event in run:
                    if event.event_type == "assistant.stream.chunk":
                        streaming.set()

            streaming = asyncio.Event()
            reading = asyncio.create_task(read())
            await streaming.wait()
            reading.cancel()
            with pytest.raises(asyncio.CancelledError):
                await reading
            await asyncio.to_thread(server.wait_for, lambda s: s.open_streams == 0)

    asyncio.run(main())


def test_a_run_that_is_dropped_cancels_the_turn(server: DemoServer):
    async def main() -> None:
        async with agent(model="agents/demo-chunks-5000-pace-20") as one:
            async for event in one.run("Go on."):
                if event.event_type == "assistant.stream.chunk":
                    break
            gc.collect()
            await asyncio.to_thread(server.wait_for, lambda s: s.open_streams == 0)

    asyncio.run(main())


def test_sessions_are_kept_forked_searched_moved_and_deleted(tmp_path: Path):
    async def main() -> None:
        async with agent(session_store=str(tmp_path / "s.db")) as one:
            run = one.run("The password is swordfish.", title="Secrets")
            await run.outcome()
            session_id = run.session_id
            assert session_id is not None
        async with agent(session_store=str(tmp_path / "s.db")) as two:
            [info] = await two.sessions.list()
            assert (info["session_id"], info["title"], info["turns"]) == (session_id, "Secrets", 1)
            [hit, *_] = await two.sessions.search("swordfish")
            assert "[swordfish]" in hit["excerpt"]
            fork = await two.sessions.fork(session_id, "m1")
            assert fork["messages"] == 1
            await two.sessions.rename(fork["session_id"], "A fork")
            assert (await two.sessions.info(fork["session_id"]))["title"] == "A fork"
            copied = await two.sessions.import_log(await two.sessions.export(session_id))
            there = [m["message"] for m in await two.sessions.messages(copied["session_id"])]
            assert there == [m["message"] for m in await two.sessions.messages(session_id)]
            chat = await two.sessions.export_messages(session_id)
            told = await two.sessions.import_messages(chat, title="Told")
            assert told["title"] == "Told"
            assert await two.sessions.export_messages(told["session_id"]) == chat
            for one_id in (session_id, fork["session_id"], copied["session_id"], told["session_id"]):
                await two.sessions.delete(one_id)
            assert await two.sessions.list() == []
            with pytest.raises(NotFoundError):
                await two.sessions.info(session_id)

    asyncio.run(main())


def test_an_edit_and_a_regeneration_are_siblings():
    async def main() -> None:
        async with agent() as one:
            run = one.run("Say hello.")
            await run.outcome()
            session_id = run.session_id
            await one.run("Say goodbye.", session_id=session_id, edit="m1").outcome()
            await one.run(session_id=session_id, regenerate="").outcome()
            assert session_id is not None
            parents = [(m["message_id"], m["parent_id"]) for m in await one.sessions.tree(session_id)]
            assert parents == [("m1", None), ("m2", "m1"), ("m3", None), ("m4", "m3"), ("m5", "m3")]

    asyncio.run(main())


def test_a_log_runs_again_and_a_changed_loop_shows():
    async def main() -> None:
        def get_weather(city: str) -> str:
            return city

        async with agent(get_weather) as one:
            run = one.run("What is the weather in Paris?")
            await run.outcome()
            assert run.session_id is not None
            log = await one.sessions.export(run.session_id)
            same = await one.test_run(log)
            assert same["same"], same["diff"]
        async with agent(get_weather, approval={"default": "deny"}) as other:
            different = await other.test_run(log)
            assert not different["same"]
            assert "tool.execution.denied" in different["diff"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("config", "says"),
    [
        ({"max_tool_round": 3}, "max_tool_rounds"),
        ({"request": {"api_key": "k"}}, "environment"),
        ({"mcp_servers": {"a": {"type": "sse", "url": "http://x"}}}, "retired"),
        ({"timeouts": {"tool": -1}}, "timeouts.tool"),
    ],
)
def test_a_wrong_configuration_is_told_with_its_path(config: dict[str, Any], says: str):
    with pytest.raises(InvalidRequestError, match=says):
        Agent(MODEL, **config)


def variadic(*args: int) -> None: ...


def positional(city: str, /) -> None: ...


def untold(city: Nope) -> None: ...  # type: ignore[name-defined] # noqa: F821 - that is the case


def odd(lock: Odd) -> None: ...


def ungiven(call: Callable[[int], int]) -> None: ...


def hidden(_city: str) -> None: ...


def clashing(model_config: str) -> None: ...


def größe(city: str) -> None: ...  # noqa: PLC2401 - that is the case


class Odd:
    """Pydantic knows nothing of it, and an instance is a callable without a name."""

    def __call__(self, city: str) -> None: ...


@pytest.mark.parametrize(
    ("tool", "says"),
    [
        (variadic, "variadic: .*args"),
        (positional, "positional: .*city"),
        (untold, "untold: .*Nope.*give each a type"),
        (odd, "odd: .*Odd.*give each a type"),
        (ungiven, "ungiven: .*give each a type"),
        (clashing, "clashing: .*model_config.*rename"),
        (hidden, "hidden: .*name _city.*rename"),
        (max, "max: "),
        (functools.partial(variadic, 1), "partial.*variadic.* with def"),
        (Odd(), "Odd object.* with def"),
        (Odd, "Odd .* with def"),
        (lambda city: city, "<lambda>: .*use def"),
        (größe, "größe: .*tool's name"),
    ],
    ids=lambda one: getattr(one, "__name__", type(one).__name__) if callable(one) else "",
)
def test_a_function_that_cannot_be_a_tool_is_refused_by_name_with_what_to_do(
    tool: Callable[..., Any], says: str
):
    with pytest.raises(UnsupportedError, match=says):
        Agent(MODEL, [tool])


@pytest.mark.parametrize(
    ("tools", "says"),
    [
        ([variadic.__name__], "'variadic' is no function"),
        ([None], "None is no function"),
        (variadic, "give a list of functions, not variadic"),
        ("weather", "give a list"),
        (3, "give a list"),
        ([asyncio.sleep, asyncio.sleep], "two functions are named sleep"),
    ],
)
def test_tools_that_are_none_or_share_a_name_are_refused(tools: Any, says: str):
    with pytest.raises(InvalidRequestError, match=says):
        Agent(MODEL, tools)


def test_methods_and_wrapped_functions_are_tools():
    class Station:
        def get_weather(self, city: str) -> str:
            return f"18 in {city}"

    @functools.lru_cache
    def get_current_time(timezone: str) -> str:
        return f"noon in {timezone}"

    async def main() -> None:
        async with agent(Station().get_weather, get_current_time) as one:
            weather = await one.run("What is the weather in Paris?").outcome()
            assert weather["text"] == "The tool says: 18 in Paris."
            time = await one.run("What time is it in Europe/Paris?").outcome()
            assert time["text"] == "The tool says: noon in Europe/Paris."

    asyncio.run(main())


def test_another_session_of_that_name_is_not_found_when_it_is_read():
    async def main() -> None:
        async with agent() as one:
            with pytest.raises(NotFoundError):
                await events(one.run("Say hello.", session_id="s-nowhere"))

    asyncio.run(main())


def running(program: str) -> bool:
    """Whether a process of this machine has the program in its command."""
    for place in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it has ended meanwhile
            if program.encode() in place.read_bytes():
                return True
    return False


def test_an_mcp_server_is_used_and_ended(root: Path, tmp_path: Path):
    # A name of its own, so that nobody else's server is taken for it.
    program = tmp_path / "mcp-server-time"
    program.symlink_to(root / ".tools/mcp/venv/bin/mcp-server-time")

    async def main() -> None:
        async with agent(mcp_servers={"time": {"command": str(program)}}) as one:
            outcome = await one.run("What time is it in Europe/Paris?").outcome()
            assert '"timezone": "Europe/Paris"' in outcome["text"]
            assert running(str(program))
        assert not running(str(program))

    asyncio.run(main())
