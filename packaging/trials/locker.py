"""A locker bank at the gateway of a box: doors, locks, occupancy sensors, a keypad and a scanner, and the
people in front of it. It keeps to firmware-protocols/DEVICES.md and shares no code with the gateway.
"""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import box
from box import Failed
from mqtt import Client

GATEWAY = ("127.0.0.1", 1883)
SAID_LATE_S = 5


class Bank:
    """One bank. Gestures return when what they lead to has come."""

    def __init__(self, place, name, password, compartments, boot=1):
        self.name, self.password, self.boot = name, password, boot
        self._box, self._compartments = place, compartments
        self._numbers = threading.Lock()
        self._seq = 0
        self._news = threading.Condition()
        self._orders = []
        self._done = set()
        self.open, self.inside = set(), {}
        self._client = None

    def connect(self):
        """Logs in, and says what it is and how its doors are."""
        self._log_in()
        self._report({"kind": "hello", "model": "trial", "firmware": "1"})
        for number in range(1, self._compartments + 1):
            self._door(number)

    def reconnect(self):
        """The connection was lost, the bank wasn't off: it goes on where it was."""
        self._client.close()
        self._log_in()

    def disconnect(self):
        """Leaves; the gateway is to be restarted, or the play is over."""
        self._client.close()

    def _log_in(self):
        with self._box.network():
            self._client = Client(GATEWAY, self.name, self.password, self._heard)
        self._client.subscribe(f"linli/v1/{self.name}/command")
        self._client.subscribe(f"linli/v1/{self.name}/receipt")

    def scan(self, symbol):
        """Somebody scans; what the display says, or the compartment that opens."""
        return self._gesture({"kind": "scan", "symbol": symbol})

    def opens_for_waybill(self, parcel):
        """Somebody scans a waybill; the compartment that opens."""
        return self._opens({"kind": "scan", "symbol": parcel}, f"the waybill {parcel}")

    def opens_for_code(self, code, whose):
        """Somebody types a code; the compartment that opens."""
        return self._opens({"kind": "keypad", "code": code}, f"the code of {whose}")

    def refuses(self, code, words):
        """Somebody types a code; nothing opens, and the display says these words."""
        answer = self._gesture({"kind": "keypad", "code": code})
        while words not in str(answer):
            if isinstance(answer, int):
                raise Failed(f"{self.name} opened compartment {answer} instead of saying {words!r}")
            answer = self._obeyed(f"a code that is to be refused, but {answer!r}")

    def _opens(self, event, what):
        answer = self._gesture(event)
        try:
            # What the display says at first may still be about the gesture before.
            while not isinstance(answer, int):
                said = answer
                answer = self._obeyed(what, SAID_LATE_S)
        except Failed:
            raise Failed(f"{self.name} opened nothing for {what}: {said!r}") from None
        return answer

    def put_in(self, number, parcel):
        self.inside.setdefault(number, []).append(parcel)

    def take_out(self, number):
        return self.inside.pop(number, [])

    def close(self, number):
        """The door falls shut."""
        self.open.discard(number)
        self._door(number)

    def _door(self, number):
        door = "open" if number in self.open else "closed"
        occupied = bool(self.inside.get(number))
        self._report({"kind": "compartment", "compartment": number, "door": door, "occupied": occupied})

    def _gesture(self, event):
        with self._news:
            self._orders.clear()
        self._report(event)
        return self._obeyed(f"a {event['kind']}")

    def _obeyed(self, after, within_s=None):
        end = time.monotonic() + (within_s or box.patience_s)
        while True:
            with self._news:
                if not self._news.wait_for(lambda: self._orders, timeout=max(0, end - time.monotonic())):
                    raise Failed(f"{self.name} heard nothing after {after}")
                order = self._orders.pop(0)
            answer = self._obey(order)
            if answer is not None:
                return answer

    def _obey(self, order):
        if order["kind"] == "show":
            return order["text"]
        if order["kind"] != "open":
            return None
        if order["id"] in self._done:
            self._report({"kind": "result", "command": order["id"], "outcome": "refused"})
            return None
        self._done.add(order["id"])
        self.open.add(order["compartment"])
        self._report({"kind": "result", "command": order["id"], "outcome": "done"})
        self._door(order["compartment"])
        return order["compartment"]

    def opened_by(self, staff):
        """Somebody opens a door from the command line, which waits for the door. The compartment."""
        with self._news:
            self._orders.clear()
        with ThreadPoolExecutor(1) as one:
            done = one.submit(staff)
            number = self._obeyed("a command of the staff")
            done.result()
        return number

    def _heard(self, topic, payload):
        if topic.endswith("/command"):
            with self._news:
                self._orders.append(json.loads(payload))
                self._news.notify_all()

    def _report(self, event):
        with self._numbers:
            self._seq += 1
            event = {**event, "boot": self.boot, "seq": self._seq, "age": 0}
        self._client.publish(f"linli/v1/{self.name}/event", json.dumps(event).encode())


def sensor(place, name, password):
    """A connection of a device that only reports."""
    with place.network():
        return Client(GATEWAY, name, password, lambda topic, payload: None)
