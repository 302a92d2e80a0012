"""A document as a transcript: its console blocks are commands with what they answer. They are run in a box
in their order by one shell, as a person would type them, and what they answer is compared with the
document, or written into it.

A line that begins with `# ` or `$ ` is a command; what ends with a backslash, or is within a here-document
or quotes, goes on in the next line, after `> `. What follows is its answer. A line `…` stands for any
lines. Of an answer only what is the same each time is compared: times, ids, passwords, codes and what
depends on the machine are masked (`masked`).
"""

import re
import subprocess
import threading
import time
from pathlib import Path

from box import Failed

BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# What the documents have installed beside our packages.
TOOLS = ["curl", "mosquitto-clients"]
COMMAND_WITHIN_S = 300

# In this order.
MASKS = [
    # Only where the clock isn't kept right by somebody.
    (re.compile(r"\n+~ the clock was estimated then.*"), ""),
    (re.compile(r"\x1b\[[0-9;]*m"), ""),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DATE"),
    (re.compile(r"~?\b\d\d:\d\d(:\d\d)?(\.\d+)?\b"), "TIME"),
    (re.compile(r"\b\d+(\.\d+)? ?(ms|s|min|h|seconds?|minutes?|B|KiB|MiB|kB|MB|days?)\b"), "AMOUNT"),
    (re.compile(r"\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{22}\b"), "ID"),
    (re.compile(r"\b[a-z]-[0-9a-f]{24}\b"), "COMMAND"),
    (re.compile(r"\b[0-9a-f]{16,}\b"), "HEX"),
    (re.compile(r"\b[A-Za-z0-9_-]{22,}\b(?<![a-z]{22})"), "SECRET"),
    (re.compile(r"\b\d{3} \d{3}(?: \d{1,3})?\b"), "CODE"),
    (re.compile(r"(?<![\w.])\d{6,16}\b"), "CODE"),
    (re.compile(r"\b\d+\.\d+\.\d+([-~+]\w+)?\b"), "VERSION"),
    (re.compile(r"\b(amd64|arm64|x86_64|aarch64)\b"), "ARCHITECTURE"),
    (re.compile(r"\[?\b(pid|PID:?) \d+"), "PID"),
    (re.compile(r"[ \t]+"), " "),
]


class Entry:
    """A command and what it is to answer."""

    def __init__(self, prompt, command, answer):
        self.prompt, self.command, self.answer = prompt, command, answer

    def __str__(self):
        command = self.command.replace("\n", "\n> ")
        answer = f"{self.answer}\n" if self.answer else ""
        return f"{self.prompt} {command}\n{answer}"


def entries(block):
    """The commands of a block."""
    found = []
    for line in block.splitlines():
        if line[:2] in ("# ", "$ "):
            found.append([line[0], [line[2:]], []])
        elif not found:
            raise Failed(f"a console block begins with no command: {line!r}")
        elif line[:2] == "> " and not found[-1][2]:
            found[-1][1].append(line[2:])
        else:
            found[-1][2].append(line)
    return [Entry(prompt, "\n".join(command), "\n".join(answer)) for prompt, command, answer in found]


def masked(text):
    """What of an answer is the same each time, as lines."""
    for pattern, instead in MASKS:
        text = pattern.sub(instead, text)
    return [line.strip() for line in text.strip().splitlines()]


def agrees(expected, seen):
    """Whether an answer is as the document has it."""
    return _lines_agree(masked(expected), masked(seen))


def _lines_agree(expected, seen):
    if not expected:
        return not seen
    if expected[0] == "…":
        return any(_lines_agree(expected[1:], seen[skip:]) for skip in range(len(seen) + 1))
    return bool(seen) and expected[0] == seen[0] and _lines_agree(expected[1:], seen[1:])


class Shell:
    """One shell in a box, from the first command of a document to the last."""

    END = "--the-end-of-a-command--"

    def __init__(self, box):
        self._shell = subprocess.Popen(
            box.enter(["bash", "--norc"]),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, command):
        """What it answers, both streams in their order; and its exit code."""
        # Its standard input is no terminal and has nothing to say.
        self._shell.stdin.write(f"{{ {command}\n}} </dev/null\nprintf '\\n{self.END} %s\\n' $?\n")
        self._shell.stdin.flush()
        lines = []
        late = threading.Timer(COMMAND_WITHIN_S, self._shell.kill)
        late.start()
        try:
            return self._heard(command, lines)
        finally:
            late.cancel()

    def close(self):
        """Leaves."""
        self._shell.stdin.close()
        self._shell.wait(timeout=COMMAND_WITHIN_S)

    def _heard(self, command, lines):
        while True:
            line = self._shell.stdout.readline()
            if not line:
                raise Failed(f"the shell ended, or took more than {COMMAND_WITHIN_S} s, in: {command}\n{''.join(lines)}")
            if line.startswith(self.END):
                return "".join(lines).strip("\n"), int(line.split()[1])
            lines.append(line)


def play(document, box, write=False, told=print):
    """Runs a document in a box. With `write`, answers that differ are written into it; else they are a
    failure. Returns how long all the commands took, s."""
    path = Path(document)
    text, shell, begun = path.read_text(), Shell(box), time.monotonic()

    def run_block(match):
        return "```console\n" + "".join(str(run(entry)) for entry in entries(match.group(1))) + "```"

    def run(entry):
        started = time.monotonic()
        answer, code = shell.run(entry.command)
        told(f"    {entry.prompt} {entry.command.splitlines()[0]} ({time.monotonic() - started:.1f} s)")
        if agrees(entry.answer, answer) and (code == 0 or entry.answer):
            return entry
        if write and code == 0 and "…" not in entry.answer.splitlines():
            return Entry(entry.prompt, entry.command, answer)
        raise Failed(
            f"{path.name} says\n{entry}\nand here it was (exit code {code})\n{answer}\n\n"
            f"masked: {masked(entry.answer)}\nand     {masked(answer)}"
        )

    played = BLOCK.sub(run_block, text)
    shell.close()
    if write:
        path.write_text(played)
    return time.monotonic() - begun
