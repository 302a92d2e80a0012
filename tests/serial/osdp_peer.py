"""OSDP readers on one line, by libosdp: the independent peer of linli's driver.

Prints the line's path, then one JSON object a line: what a reader was told, and answers. Reads one JSON
object a line:

    {"do": "add", "address": 1, "key": "00…" or null, "display": true}   null: in installation mode
    {"do": "remove", "address": 1}
    {"do": "card", "address": 1, "bits": 26, "data": "deadbec0"}
    {"do": "keys", "address": 1, "data": "31320d"}
    {"do": "status", "address": 1, "tamper": 1, "power": 0}
    {"do": "noise", "data": "53ff"}
"""

import collections
import json
import os
import select
import sys
import time
import tty

import osdp_sys
from osdp import (
    Capability,
    CardFormat,
    Channel,
    Event,
    LibFlag,
    LogLevel,
    PDCapabilities,
    PDInfo,
    StatusReportType,
)

master, near = os.openpty()
tty.setraw(near)
os.set_blocking(master, False)
readers = {}


class Tap(Channel):
    """A reader's place on the line: it hears everything, as on RS-485."""

    def __init__(self, number):
        super().__init__()
        self.id = number
        self.heard = collections.deque(maxlen=65536)

    def read(self, most):
        hear()
        return bytes(self.heard.popleft() for _ in range(min(most, len(self.heard))))

    def write(self, data):
        return os.write(master, data)

    def flush(self):
        pass


def hear():
    try:
        data = os.read(master, 4096)
    except BlockingIOError:
        return
    except OSError:
        # Nobody has the other end open.
        time.sleep(0.002)
        return
    for tap, _ in readers.values():
        tap.heard.extend(data)


def say(**what):
    print(json.dumps(what), flush=True)


def told(address, command):
    plain = {k: v.hex() if isinstance(v, bytes) else v for k, v in command.items()}
    say(told=address, **plain)
    return 0, None


def add(address, key, display):
    able = [
        (Capability.LEDControl, 1, 1),
        (Capability.AudibleControl, 1, 1),
        (Capability.CommunicationSecurity, 1, 1),
        (Capability.CheckCharacter, 1, 1),
    ]
    if display:
        able.append((Capability.TextOutput, 1, 1))
    tap = Tap(address)
    flags = [LibFlag.EnforceSecure] if key else []
    info = PDInfo(address, tap, scbk=bytes.fromhex(key) if key else None, flags=flags)
    osdp_sys.set_loglevel(LogLevel.Emergency)
    reader = osdp_sys.PeripheralDevice(info.get(), capabilities=PDCapabilities(able).get())
    reader.set_command_callback(lambda command: told(address, command))
    readers[address] = (tap, reader)


def do(what):
    data = bytes.fromhex(what.get("data", ""))
    if what["do"] == "add":
        add(what["address"], what["key"], what.get("display", True))
    elif what["do"] == "remove":
        del readers[what["address"]]
    elif what["do"] == "noise":
        os.write(master, data)
    else:
        event = {
            "card": {
                "event": Event.CardRead,
                "reader_no": 0,
                "direction": 0,
                "format": CardFormat.Wiegand,
                "length": what.get("bits"),
                "data": data,
            },
            "keys": {"event": Event.KeyPress, "reader_no": 0, "data": data},
            "status": {
                "event": Event.Status,
                "type": StatusReportType.Local,
                "report": bytes([what.get("tamper", 0), what.get("power", 0)]),
            },
        }[what["do"]]
        readers[what["address"]][1].submit_event(event)
    say(did=what["do"])


print(os.ttyname(near), flush=True)
# A port that another process has open isn't used.
os.close(near)
while True:
    # Nothing is said while a reader is in the middle of a frame: at most so long apart.
    ready, _, _ = select.select([0, master], [], [], 0.002)
    if 0 in ready:
        line = sys.stdin.readline()
        if not line:
            break
        do(json.loads(line))
    if not readers:
        hear()
    for _, reader in readers.values():
        reader.refresh()
