"""An MCP server made with Python's own SDK: a tool that answers at once, and one that never does."""

from __future__ import annotations

import asyncio

from mcp.server.mcpserver import MCPServer

server = MCPServer("weather")


@server.tool()
def get_weather(city: str) -> str:
    """The weather in a city, now."""
    return f"18 °C and sunny in {city}"


@server.tool()
async def hold_door(city: str) -> str:
    """Holds a door until it is cancelled."""
    await asyncio.Event().wait()
    return "never"


if __name__ == "__main__":
    server.run()
