"""`make demo`: a chat with a tool call from Rust, through both engines; then an agent with a real MCP server.

The chat is a Rust program's, natively and through an embedded LiteLLM. The agent asks for the time, and
leaves a session.

It takes the first provider there is: a key in the environment, an Ollama or llama.cpp server on this machine,
else the built-in offline provider; and says in one line which. OMNI_DEMO_MODEL names another model;
OMNI_DEMO_OFFLINE=1 takes the offline one whatever there is.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from omni_bridge.testing import DemoServer

ROOT = Path(__file__).resolve().parent.parent
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"

# A small model of each provider that can call tools; the key's name is LiteLLM's.
BY_KEY = {
    "OPENAI_API_KEY": "openai/gpt-5-mini",
    "ANTHROPIC_API_KEY": "anthropic/claude-haiku-4-5",
    "GEMINI_API_KEY": "gemini/gemini-2.5-flash",
    "MISTRAL_API_KEY": "mistral/mistral-small-latest",
    "DEEPSEEK_API_KEY": "deepseek/deepseek-chat",
    "GROQ_API_KEY": "groq/llama-3.3-70b-versatile",
    "OPENROUTER_API_KEY": "openrouter/openai/gpt-5-mini",
    "XAI_API_KEY": "xai/grok-4-fast",
}
OLLAMA = "http://127.0.0.1:11434"
LLAMA_CPP = "http://127.0.0.1:8080"


@dataclass(frozen=True)
class Provider:
    """Where the demo goes, and the line that says so."""

    model: str
    says: str
    env: dict[str, str] = field(default_factory=dict)


def asked(url: str) -> Any:
    """A local server's JSON answer; None when there is none within half a second."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with contextlib.suppress(OSError, ValueError), opener.open(url, timeout=0.5) as reply:
        return json.load(reply)
    return None


def chosen() -> Provider | None:
    """The first provider there is; None: only the offline one."""
    if os.environ.get("OMNI_DEMO_OFFLINE"):
        return None
    named = os.environ.get("OMNI_DEMO_MODEL")
    for key, model in BY_KEY.items():
        if os.environ.get(key):
            return Provider(named or model, f"{key} is set: asking {named or model}")
    ollama = asked(f"{OLLAMA}/api/tags")
    if isinstance(ollama, dict) and ollama.get("models"):
        model = named or f"ollama_chat/{ollama['models'][0]['name']}"
        return Provider(model, f"Ollama runs on this machine: asking {model}", {"OLLAMA_API_BASE": OLLAMA})
    llama = asked(f"{LLAMA_CPP}/v1/models")
    if isinstance(llama, dict) and llama.get("data"):
        model = named or f"openai/{llama['data'][0]['id']}"
        env = {"OPENAI_API_BASE": f"{LLAMA_CPP}/v1", "OPENAI_API_KEY": "none"}
        return Provider(model, f"llama.cpp runs on this machine: asking {model}", env)
    return None


def main() -> int:
    with contextlib.ExitStack() as stack:
        provider = chosen()
        if provider is None:
            server = stack.enter_context(DemoServer(pace=40))
            provider = Provider(
                "openai/demo",
                "no provider key, no Ollama, no llama.cpp: asking the built-in offline provider on loopback",
                {"OPENAI_API_BASE": f"{server.url}/v1", "OPENAI_API_KEY": "demo"},
            )
        print(f"demo: {provider.says}", flush=True)
        host = [TARGET / "rust_host", provider.model]
        env = {"OMNI_BRIDGE_PYTHON": sys.executable, **os.environ, **provider.env}
        print("demo: a Rust program, and the native engine where it knows the provider", flush=True)
        code = subprocess.run(host, env=env, check=False).returncode
        if code == 0:
            print("demo: the same program through LiteLLM, in a Python that it embeds", flush=True)
            code = subprocess.run([*host, "litellm"], env=env, check=False).returncode
        if code == 0:
            code = agent(provider, env, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        return code


def agent(provider: Provider, env: dict[str, str], folder: Path) -> int:
    """A turn with a tool of a real MCP server, and the session that it leaves."""
    print("demo: an agent with a real MCP server (mcp-server-time), which may run its tools", flush=True)
    servers = folder / "servers.json"
    time = {"command": str(ROOT / ".tools/mcp/venv/bin/mcp-server-time")}
    servers.write_text(json.dumps({"mcpServers": {"time": time}}))
    env = {**env, "OMNI_SESSIONS": str(folder / "sessions.db")}
    omni = TARGET / "omni"
    run = [omni, "run", "What time is it in Europe/Paris?", "-m", provider.model]
    run += ["--mcp", servers, "--approve", "approve"]
    # The answer, and what the tools do beside it, in the order in which they come.
    code = subprocess.run(
        run, env=env, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
    ).returncode
    if code != 0:
        return code
    listed = subprocess.run([omni, "sessions", "list", "--json"], env=env, capture_output=True, check=True)
    session = json.loads(listed.stdout)[0]["session_id"]
    print("demo: the session that it left, as `omni sessions show` prints it", flush=True)
    return subprocess.run([omni, "sessions", "show", session], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
