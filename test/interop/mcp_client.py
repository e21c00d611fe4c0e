"""The Python SDK's client, as an agent under lanyard run: does what mcp.mjs does."""

import asyncio
import json
import os
import sys

from mcp import StdioServerParameters
from mcp.client import Client

task = json.loads(sys.argv[1])
servers = {}
if "LANYARD_MCP_CONFIG" in os.environ:
    with open(os.environ["LANYARD_MCP_CONFIG"]) as f:
        servers = json.load(f)["mcpServers"]


def server(name, want):
    if "command" in want:
        return StdioServerParameters(command=want["command"][0], args=want["command"][1:])
    return servers[name]["url"]


async def told(ask):
    try:
        r = await ask
    except Exception as e:
        return "error: " + str(e)
    parts = getattr(r, "content", None) or getattr(r, "contents", None) or [m.content for m in r.messages]
    return ("tool error: " if getattr(r, "is_error", False) else "") + "\n".join(getattr(p, "text", "") for p in parts)


async def main():
    seen = {}
    for name, want in task.get("servers", {}).items():
        async with Client(server(name, want)) as client:
            seen[name] = {"tools": [t.name for t in (await client.list_tools()).tools], "calls": []}
            for tool, args in want.get("calls", []):
                seen[name]["calls"].append(await told(client.call_tool(tool, args)))
            for uri in want.get("resources", []):
                seen[name]["calls"].append(await told(client.read_resource(uri)))
            for prompt in want.get("prompts", []):
                seen[name]["calls"].append(await told(client.get_prompt(prompt)))
    if "stream" in task:
        name, tool, args = task["stream"]

        async def progress(*_):
            print("PROGRESS", flush=True)

        async with Client(servers[name]["url"]) as client:
            seen["cut"] = await told(client.call_tool(tool, args, progress_callback=progress))
            seen["after"] = await told(client.call_tool("echo", {"message": "x"}))
            print(json.dumps(seen), flush=True)
            os._exit(0)  # what it would close is closed already
    print(json.dumps(seen))


asyncio.run(main())
