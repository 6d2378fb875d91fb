"""The agent, for asyncio: what `rust/agent` does, with Python functions as tools.

A turn runs in Rust. Its events come through one `Call`, as a stream's do; requests for Python functions come
through another, which a task on the loop that called `run` reads: so a function runs there, or, if it is no
coroutine function, in a thread of its own, and a reader who is slow to take events delays no tool.
"""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import inspect
import re
import sys
import threading
from typing import TYPE_CHECKING, Any, Literal

from ._aio import ready, result
from ._native import AgentHost
from .agent_types import event_of
from .errors import InvalidRequestError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
    from pathlib import Path

    from typing_extensions import Self

    from ._native import AgentRun, Call
    from ._typing import MessageLike
    from .agent_types import AgentEvent

__all__ = ["Agent", "Run", "Sessions"]

Scope = Literal["once", "session", "always"]


class Agent:
    """Runs turns of sessions: asks the model, runs its tools, keeps everything in the store.

    Args:
        model: ``"provider/model"`` in LiteLLM's spelling.
        tools: Functions that the model may call. A coroutine function runs on the loop that called
            `run`, any other in a thread of its own, with the caller's context variables; such a thread
            does not keep the program from ending. Names, types, defaults and docstrings become the
            tool's schema; arguments are checked against it before the function is called.
        config: The other fields of an agent's configuration, see ``docs/agent.md``: ``mcp_servers``,
            ``system``, ``session_store``, ``approval``, ``max_tool_rounds``, ``budget`` …

    Raises:
        InvalidRequestError: A field that does not exist, with a near match, or one of a wrong kind,
            with its path; a tool that is no function, or two of one name.
        UnsupportedError: A function that cannot be a tool, with what to do.

    >>> import asyncio, omni_bridge
    >>> from omni_bridge.testing import DemoServer
    >>> def get_weather(city: str) -> str:
    ...     "The weather in a city, now."
    ...     return f"18 °C and sunny in {city}"
    >>> async def main(base: str) -> str:
    ...     omni_bridge.register_provider("agents", "openai_chat", base)
    ...     async with Agent("agents/demo", [get_weather], approval={"default": "approve"}) as agent:
    ...         run = agent.run("What is the weather in Paris?")
    ...         async for event in run:
    ...             if event.event_type == "tool.execution.completed":
    ...                 print("a tool ran")
    ...         return (await run.outcome())["text"]
    >>> with DemoServer() as server:
    ...     asyncio.run(main(server.api_base))
    a tool ran
    'The tool says: 18 °C and sunny in Paris.'
    """

    def __init__(
        self,
        model: str | None = None,
        tools: Sequence[Callable[..., Any]] = (),
        **config: Any,  # noqa: ANN401 - checked by the configuration's own reader, with paths and near matches
    ) -> None:
        document = dict(config)
        if model is not None:
            document["model"] = model
        self._functions = _functions(tools)
        self._host = AgentHost(document, [function.offer() for function in self._functions.values()])
        self.sessions = Sessions(self._host)

    @classmethod
    def from_toml(cls, path: str | Path, tools: Sequence[Callable[..., Any]] = ()) -> Self:
        """An agent as a TOML file describes it.

        Raises:
            OSError: The file cannot be read.
            InvalidRequestError: It is no configuration, see `Agent`.
        """
        from pathlib import Path  # noqa: PLC0415 - only here

        return cls(tools=tools, **AgentHost.read_toml(Path(path).read_text(encoding="utf-8")))

    def run(
        self,
        input: str | MessageLike | None = None,  # noqa: A002 - the agent's own word for it, as in Rust
        *,
        session_id: str | None = None,
        edit: str | None = None,
        regenerate: str | None = None,
        title: str | None = None,
    ) -> Run:
        """Begins a turn, in a new session or in `session_id`, when its first event is asked for.

        Args:
            input: What the user says: a text, or a message of the contract.
            session_id: The session that goes on; None begins one.
            edit: The message whose place the input takes: it becomes its sibling.
            regenerate: Without an input: the message to answer again, or "" for the last one.
            title: The title of a new session; none is made then.

        Raises:
            InvalidRequestError: For an input that is none.
            NotFoundError: From the iteration: there is no such session, with a near match.
        """
        fields = {
            "input": input,
            "session_id": session_id,
            "edit": edit,
            "regenerate": regenerate,
            "title": title,
        }
        begin = {name: value for name, value in fields.items() if value is not None}
        return Run(self._host.run(begin), self._functions)

    async def follow(self, session_id: str, after: int = 0) -> AsyncGenerator[AgentEvent]:
        """The events of a session after a `seq`, as they come, whoever runs it.

        Turns of this agent show what is ephemeral too, those of others only what is durable. It goes on from
        turn to turn, until it is closed or the session is deleted.

        Raises:
            NotFoundError: There is no such session, or no more.
        """
        call = self._host.follow(session_id, after)
        try:
            async for document in _items(call):
                yield event_of(document)
        finally:
            call.close()

    async def test_run(self, log: str) -> dict[str, Any]:
        """Runs a log again, with its own answers and tools and this agent's configuration, and compares.

        Args:
            log: What `Sessions.export` gave.

        Returns:
            ``same``, ``events`` (how many there were) and ``diff``, for people.

        Raises:
            InvalidRequestError: It is no log, or one that cannot be run again.
        """
        found: dict[str, Any] = await result(self._host.test_run(log))
        return found

    async def aclose(self) -> None:
        """Cancels the turns that run, and ends the MCP servers with all that they started."""
        await result(self._host.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()


class Run:
    """One turn: an async iterator of its events.

    Dropping it before its end cancels the turn; so does cancelling the task that waits for its next event.
    """

    __slots__ = ("__weakref__", "_functions", "_run", "_serving")

    def __init__(self, run: AgentRun, functions: Mapping[str, _Function]) -> None:
        self._run = run
        self._functions = functions
        self._serving: asyncio.Task[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> AgentEvent:
        if self._serving is None and self._functions:
            self._serve()
        call = self._run.events
        while (document := call.pop()) is None:
            if call.ended:
                await self._stop()
                raise StopAsyncIteration
            try:
                await ready(call)
            except BaseException:
                self._run.cancel()
                raise
        return event_of(document)

    @property
    def session_id(self) -> str | None:
        """The session, once the turn has begun."""
        return self._run.session_id

    def cancel(self) -> None:
        """Stops the turn, from any thread. The events that follow end in ``agent.turn.cancelled``."""
        self._run.cancel()

    def approve(self, call_id: str, scope: Scope = "once") -> None:
        """Lets a proposed tool call run: once, for the session, or always.

        Raises:
            NotFoundError: No such call waits for a decision, with a near match.
        """
        self._run.approve(call_id, {"decision": "approve", "scope": scope})

    def deny(self, call_id: str, reason: str | None = None) -> None:
        """Keeps a proposed tool call from running; the model is told why.

        Raises:
            NotFoundError: No such call waits for a decision, with a near match.
        """
        self._run.approve(call_id, {"decision": "deny", "reason": reason})

    async def outcome(self) -> dict[str, Any]:
        """Reads what is left; how the turn ended: ``text``, ``ending``, ``usage``, ``rounds`` and so on."""
        async for _ in self:
            pass
        found: dict[str, Any] = await result(self._run.outcome())
        return found

    def _serve(self) -> None:
        if "asyncio" not in sys.modules or asyncio._get_running_loop() is None:  # pyright: ignore[reportPrivateUsage]
            message = "Python functions as tools need asyncio; under trio, use MCP servers"
            raise UnsupportedError(message)
        self._serving = asyncio.get_running_loop().create_task(_serve(self._run, self._functions))

    async def _stop(self) -> None:
        if self._serving is not None:
            self._run.calls.close()
            self._serving.cancel()
            await asyncio.gather(self._serving, return_exceptions=True)


async def _items(call: Call) -> AsyncIterator[Any]:
    while True:
        item = call.pop()
        if item is not None:
            yield item
        elif call.ended:
            return
        else:
            await ready(call)


async def _serve(run: AgentRun, functions: Mapping[str, _Function]) -> None:
    """Runs what the turn asks for, each as a task of its own, until the turn is over."""
    tasks: dict[int, asyncio.Task[None]] = {}
    try:
        async for asked in _items(run.calls):
            if "cancel" in asked:
                task = tasks.pop(asked["cancel"], None)
                if task is not None:
                    task.cancel()
                continue
            number: int = asked["id"]
            function = functions[asked["name"]]
            task = asyncio.get_running_loop().create_task(_answer(run, number, function, asked["arguments"]))
            tasks[number] = task
            task.add_done_callback(lambda _, number=number: tasks.pop(number, None))
    finally:
        for task in list(tasks.values()):
            task.cancel()


async def _answer(run: AgentRun, number: int, function: _Function, arguments: dict[str, Any]) -> None:
    run.answer(number, await function(arguments))


# What providers take as the name of a tool.
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def _functions(tools: Sequence[Callable[..., Any]]) -> dict[str, _Function]:
    """By name; all that a program may hand over in their place is refused here."""
    if callable(tools) or isinstance(tools, (str, bytes)) or not hasattr(tools, "__iter__"):
        message = f"tools: give a list of functions, not {_named(tools)}"
        raise InvalidRequestError(message)
    functions: dict[str, _Function] = {}
    for tool in tools:
        function = _Function(tool)
        if function.name in functions:
            message = f"tools: two functions are named {function.name}; give one of them another name"
            raise InvalidRequestError(message)
        functions[function.name] = function
    return functions


def _named(thing: object) -> str:
    return getattr(thing, "__name__", None) or repr(thing)


class _Function:
    """A Python function as a tool."""

    def __init__(self, function: Callable[..., Any]) -> None:
        if not callable(function):
            message = f"tools: {function!r} is no function"
            raise InvalidRequestError(message)
        name = getattr(function, "__name__", None)
        if not isinstance(name, str) or inspect.isclass(function):
            message = f"{_named(function)} is no function with a name; call it in one, with def"
            raise UnsupportedError(message)
        if not _NAME.fullmatch(name):
            message = f"{name}: providers refuse this tool's name; use def and at most 64 of A-Z, a-z, 0-9, _"
            raise UnsupportedError(message)
        self.function = function
        self.name = name
        self._model: Any = None

    @property
    def model(self) -> Any:  # noqa: ANN401 - a pydantic model, made here
        """The arguments as a pydantic model, made at first use: pydantic is slow to import."""
        if self._model is None:
            self._model = _model_of(self.function)
        return self._model

    def offer(self) -> dict[str, Any]:
        """Name, description and schema."""
        try:
            schema: dict[str, Any] = self.model.model_json_schema()
        except UnsupportedError:
            raise
        except Exception as error:
            # What inspect, typing and pydantic raise has no base of its own.
            why = str(error).partition("\n")[0]
            message = (
                f"{self.name}: its parameters cannot be described to a model: {type(error).__name__}: {why}; "
                "give each a type that pydantic can describe, such as str, list[int] or a pydantic model"
            )
            raise UnsupportedError(message) from error
        schema.pop("title", None)
        return {
            "name": self.name,
            "description": inspect.getdoc(self.function) or "",
            "parameters": schema,
        }

    async def __call__(self, arguments: dict[str, Any]) -> dict[str, Any]:
        """The answer as the turn wants it. What the function raises is told to the model alone."""
        from pydantic import ValidationError  # noqa: PLC0415 - slow to import
        from pydantic_core import to_json  # noqa: PLC0415 - the same

        try:
            checked = self.model.model_validate(arguments)
        except ValidationError as error:
            wrong = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
            return {"error": "; ".join(wrong), "invalid_arguments": True}
        values = {name: getattr(checked, name) for name in inspect.signature(self.function).parameters}
        try:
            if inspect.iscoroutinefunction(self.function):
                answer = await self.function(**values)
            else:
                answer, error = await _in_a_thread(lambda: self.function(**values), f"omni tool {self.name}")
                if error is not None:
                    raise error  # noqa: TRY301 - told as what a coroutine function raises
        except Exception as error:  # noqa: BLE001 - whatever a tool raises is its answer
            return {"error": f"{type(error).__name__}: {error}"}
        return {"content": answer if isinstance(answer, str) else to_json(answer, fallback=str).decode()}


async def _in_a_thread(work: Callable[[], Any], name: str) -> tuple[Any, BaseException | None]:
    """What it gave and what it raised, in a thread that nobody waits for once this call is cancelled.

    The loop's own threads would be waited for when the loop and the program end, and there are only so many
    of them: one function that hangs would keep the program, a few would keep all others from running.
    """
    loop = asyncio.get_running_loop()
    context = contextvars.copy_context()
    settled: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

    def settle(answer: Any, error: BaseException | None) -> None:  # noqa: ANN401 - what the work gives
        if not settled.done():
            settled.set_result((answer, error))

    def run() -> None:
        answer, error = None, None
        try:
            answer = context.run(work)
        except BaseException as raised:  # noqa: BLE001 - the caller raises it again
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody wants it any more
            loop.call_soon_threadsafe(settle, answer, error)

    threading.Thread(target=run, name=name, daemon=True).start()
    return await settled


def _model_of(function: Callable[..., Any]) -> Any:  # noqa: ANN401 - a pydantic model, made here
    from typing import get_type_hints  # noqa: PLC0415 - only here

    from pydantic import ConfigDict, create_model  # noqa: PLC0415 - slow to import

    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD, parameter.POSITIONAL_ONLY):
            message = f"{function.__name__}: a tool's parameters are named ones; {name} is not"
            raise UnsupportedError(message)
        default = ... if parameter.default is parameter.empty else parameter.default
        fields[name] = (hints.get(name, Any), default)
    model = create_model(function.__name__, __config__=ConfigDict(extra="forbid"), **fields)
    for lost in fields.keys() - model.model_fields.keys():  # such as _city or model_config
        message = f"{function.__name__}: pydantic keeps the name {lost} for itself; rename the parameter"
        raise UnsupportedError(message)
    return model


class Sessions:
    """The sessions of an agent's store; every answer is a document."""

    __slots__ = ("_host",)

    def __init__(self, host: AgentHost) -> None:
        self._host = host

    async def _ask(self, op: str, **fields: Any) -> Any:  # noqa: ANN401 - documents
        return await result(self._host.sessions({"op": op, **fields}))

    async def list(self, limit: int = 20, after: str | None = None) -> list[dict[str, Any]]:
        """The newest first; `after` is the last `session_id` of the page before."""
        return await self._ask("list", limit=limit, after=after)

    async def info(self, session_id: str) -> dict[str, Any]:
        """What is known of a session: title, leaf, usage, counts."""
        return await self._ask("info", session_id=session_id)

    async def messages(
        self, session_id: str, *, leaf: str | None = None, last: int | None = None
    ) -> list[dict[str, Any]]:
        """The messages on the path to a leaf (the active one by default), in order."""
        return await self._ask("messages", session_id=session_id, leaf=leaf, last=last)

    async def tree(self, session_id: str) -> list[dict[str, Any]]:
        """Every message, siblings included, in the order in which they were saved."""
        return await self._ask("tree", session_id=session_id)

    async def events(self, session_id: str, after: int = 0, limit: int = 1000) -> list[AgentEvent]:
        """Durable events with a `seq` greater than `after`, in order."""
        found = await self._ask("events", session_id=session_id, after=after, limit=limit)
        return [event_of(document) for document in found]

    async def search(self, words: str, limit: int = 20) -> list[dict[str, Any]]:
        """Where the words stand, the best first."""
        return await self._ask("search", words=words, limit=limit)

    async def fork(self, session_id: str, message_id: str | None = None) -> dict[str, Any]:
        """A new session from the path up to a message (the active leaf by default)."""
        return await self._ask("fork", session_id=session_id, message_id=message_id)

    async def rename(self, session_id: str, title: str) -> dict[str, Any]:
        """Gives a session a title, which stays."""
        return await self._ask("rename", session_id=session_id, title=title)

    async def delete(self, session_id: str) -> None:
        """Takes a session and all its traces out of the store, for good."""
        await self._ask("delete", session_id=session_id)

    async def export(self, session_id: str) -> str:
        """The whole log as JSON lines, without loss."""
        return await self._ask("export", session_id=session_id)

    async def export_messages(self, session_id: str) -> list[dict[str, Any]]:
        """The messages of the active path, as OpenAI's chat API takes them."""
        return await self._ask("export_messages", session_id=session_id)

    async def import_messages(
        self, messages: Sequence[Mapping[str, Any]], title: str | None = None
    ) -> dict[str, Any]:
        """A session from messages as OpenAI's chat API takes them.

        Raises:
            InvalidRequestError: Such a conversation cannot be: the message is named.
        """
        return await self._ask("import_messages", messages=[dict(one) for one in messages], title=title)

    async def import_log(self, lines: str) -> dict[str, Any]:
        """A session from what `export` gave."""
        return await self._ask("import", lines=lines)
