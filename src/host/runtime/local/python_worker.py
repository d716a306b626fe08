"""Runs cells in one interpreter: requests come as JSON over descriptor 198, answers go out over 199, each ended by a NUL."""
import ast
import asyncio
import json
import linecache
import os
import re
import signal
import subprocess
import sys
import traceback
import types

REQUESTS, ANSWERS = 198, 199
os.set_inheritable(REQUESTS, False)
os.set_inheritable(ANSWERS, False)
# Between cells an interrupt is late, and must not end the worker.
signal.signal(signal.SIGINT, signal.SIG_IGN)

main = types.ModuleType("__main__")
main.__dict__["__builtins__"] = __builtins__
sys.modules["__main__"] = main
sys.path.insert(0, "")
sys.argv = [""]
names = main.__dict__
RULE = "-" * 75
loop = None
count = 0


def system(command):
    return subprocess.call(["bash", "-c", command], stdin=subprocess.DEVNULL)


names["__rekindle_system"] = system


def plain(code):
    """Puts Python in the place of `!command`, `%pip` and `%cd`, which people are used to."""
    lines = []
    for line in code.split("\n"):
        match = re.match(r"(\s*)(!|%pip\s|%cd\s|%%?bash\s*$)(.*)", line)
        if match is None:
            lines.append(line)
            continue
        indent, what, rest = match.groups()
        what = what.strip()
        if what == "%cd":
            lines.append(f"{indent}__import__('os').chdir({rest.strip()!r})")
        elif what.endswith("bash"):
            continue
        else:
            command = rest if what == "!" else f"{sys.executable} -m pip {rest}"
            lines.append(f"{indent}_ = __rekindle_system({command!r})")
    return "\n".join(lines)


def parse(code, name):
    try:
        return code, ast.parse(code, name)
    except SyntaxError:
        other = plain(code)
        if other == code:
            raise
        return other, ast.parse(other, name)


def finish(value):
    """Runs what `await` at the top of a cell has left to run."""
    global loop
    if not isinstance(value, types.CoroutineType):
        return value
    if loop is None:
        loop = asyncio.new_event_loop()
        asyncio.set_event_loop(loop)
    return loop.run_until_complete(value)


def execute(code, name):
    text, tree = parse(code, name)
    linecache.cache[name] = (len(text), None, text.splitlines(True), name)
    last = None
    if tree.body and isinstance(tree.body[-1], ast.Expr) and not text.rstrip().endswith(";"):
        last = ast.Expression(tree.body.pop().value)
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    if tree.body:
        finish(eval(compile(tree, name, "exec", flags=flags, dont_inherit=True), names))
    if last is not None:
        value = finish(eval(compile(last, name, "eval", flags=flags, dont_inherit=True), names))
        if value is not None:
            names["_"] = value
            print(repr(value))


def context(lines, number):
    shown = []
    for at in range(max(1, number - 2), min(len(lines), number + 2) + 1):
        mark = f"----> {at}" if at == number else f"      {at}"
        mark = mark if len(mark) <= 8 or at != number else f"--> {at}"
        shown.append(f"{mark} {lines[at - 1].rstrip()}".rstrip())
    return shown


def report(error, cell, name):
    kind = type(error).__name__
    if isinstance(error, SyntaxError) and error.filename == name:
        print(f"  {cell}, line {error.lineno}")
        if error.text:
            stripped = error.text.lstrip()
            print(f"    {stripped.rstrip()}")
            if error.offset:
                column = max(0, error.offset - 1 - (len(error.text) - len(stripped)))
                print("    " + " " * column + "^")
        print(f"{kind}: {error.msg}")
        return
    if isinstance(error, SystemExit):
        print(f"An exception has occurred, use %tb to see the full traceback.\n\nSystemExit: {error}")
        return
    # What one error leads to is told before it, as Python does.
    cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if cause is not None:
        report(cause, cell, name)
        told = "The above exception was the direct cause of" if error.__cause__ else "During handling of the above exception,"
        rest = "the following exception:" if error.__cause__ else "another exception occurred:"
        print(f"\n{told} {rest}\n")
    title = "Traceback (most recent call last)"
    print(RULE)
    print(kind + title.rjust(75 - len(kind)))
    for frame in traceback.extract_tb(error.__traceback__):
        if frame.filename == "<rekindle>":
            continue
        inside = "" if frame.name == "<module>" else f", in {frame.name}"
        place = cell if frame.filename == name else re.sub(r"^<cell (\d+)>$", r"Cell In[\1]", frame.filename)
        place = place if place.startswith("Cell In[") else f"File {place}:{frame.lineno}{inside}"
        print(f"{place}, line {frame.lineno}{inside}" if place.startswith("Cell In[") else place)
        lines = linecache.getlines(frame.filename)
        if 0 < frame.lineno <= len(lines):
            print("\n".join(context(lines, frame.lineno)))
        print()
    print(f"{kind}: {error}".rstrip() if str(error) else f"{kind}: ")


def run(request):
    global count
    count += 1
    name, cell = f"<cell {count}>", f"Cell In[{count}]"
    directory = request.get("directory")
    if directory is not None:
        try:
            os.chdir(directory)
        except OSError:
            pass
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        execute(request["code"], name)
    except BaseException as error:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        # Nothing above this file's own frames is the agent's business.
        report(error, cell, name)
        # A traceback holds every variable of the cell's frames alive.
        error.__traceback__ = None
    finally:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for stream in (sys.stdout, sys.stderr):
            try:
                stream.flush()
            except (OSError, ValueError):
                pass


def answer(value):
    data = json.dumps(value).encode() + b"\0"
    while data:
        data = data[os.write(ANSWERS, data):]


answer({"interpreter": sys.executable})
buffer = b""
while True:
    chunk = os.read(REQUESTS, 1 << 20)
    if not chunk:
        os._exit(0)
    buffer += chunk
    while b"\0" in buffer:
        text, buffer = buffer.split(b"\0", 1)
        run(json.loads(text))
        answer({})
