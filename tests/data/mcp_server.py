"""An MCP server over standard input and output that misbehaves as it is told to.

The first argument says how it begins, the others are the tools that it brings, each as NAME or NAME=DESCRIPTION, or as @FILE with
one of them a line.
"""
import json
import os
import subprocess
import sys
import time

how, offered = sys.argv[1], []
for word in sys.argv[2:]:
    tools = open(word[1:]).read().split("\n") if word.startswith("@") else [word]
    offered.extend(tool.partition("=") for tool in tools if tool)


def say(message):
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def text(words, **more):
    return {"content": [{"type": "text", "text": words}], **more}


def call(name, arguments):
    if name == "echo":
        return text(json.dumps(arguments, sort_keys=True))
    if name == "env":
        return text("\n".join(f"{key}={value}" for key, value in sorted(os.environ.items())))
    if name == "where":
        return text(os.getcwd())
    if name == "spawn":
        # Helpers that would outlive it: one in its group, one that has left group and session.
        subprocess.Popen(["sleep", arguments["seconds"]])
        subprocess.Popen(["setsid", "sleep", arguments["seconds"]])
        return text("spawned")
    if name == "die":
        print("I have had enough", file=sys.stderr, flush=True)
        os._exit(3)
    if name == "hang":
        time.sleep(100000)
    if name == "flood":
        while True:
            sys.stdout.write("x" * 65536)
    if name == "chatter":
        while True:
            sys.stdout.write(json.dumps({"jsonrpc": "2.0", "method": "notifications/message", "params": {"level": "info", "data": "x" * 4096}}) + "\n")
    if name == "garbage":
        sys.stdout.write("this is no JSON\n{\"jsonrpc\": \"2.0\"}\n[1, 2\n\xff\n")
        return text("after the garbage")
    if name == "long":
        return text("y" * 300000)
    if name == "fails":
        return text("it went wrong", isError=True)
    return None


if how == "hang":
    print("still waiting for nothing", file=sys.stderr, flush=True)
    time.sleep(100000)
if how == "exit":
    print("no licence found", file=sys.stderr, flush=True)
    sys.exit(7)
if how == "garbage":
    while True:
        print("Welcome! " * 100)
for line in sys.stdin:
    request = json.loads(line)
    method, number = request.get("method"), request.get("id")
    if method == "initialize":
        version = request["params"]["protocolVersion"]
        server = {"name": "fake", "version": "1"}
        say({"jsonrpc": "2.0", "id": number, "result": {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": server}})
    elif method == "tools/list":
        if how == "endless":
            # The same page again and again.
            tools, cursor = [{"name": "again", "inputSchema": {"type": "object"}}], "next"
            say({"jsonrpc": "2.0", "id": number, "result": {"tools": tools, "nextCursor": cursor}})
            continue
        tools = [{"name": name, "description": words, "inputSchema": {"type": "object"}} for name, _, words in offered]
        say({"jsonrpc": "2.0", "id": number, "result": {"tools": tools}})
    elif method == "tools/call":
        result = call(request["params"]["name"], request["params"].get("arguments") or {})
        if result is None:
            say({"jsonrpc": "2.0", "id": number, "error": {"code": -32602, "message": "Unknown tool"}})
        else:
            say({"jsonrpc": "2.0", "id": number, "result": result})
