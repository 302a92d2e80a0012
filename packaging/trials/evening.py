"""An estate with a parcel in every state, played through the real gateway and the real cloud of a box by
banks that speak MQTT; and what must still be so after an upgrade, seen and tried.
"""

import json
import threading
import time

from box import Failed, until
from cloud import Cloud
from locker import Bank, sensor
from steps import holds

SITE = "willow-court"
BADGE = "BADGE-OF-CARL"
CONFIGURATION = """\
site = "willow-court"
state_dir = "/var/lib/linli"
[broker]
listen = "127.0.0.1:1883"
[cloud]
url = "http://127.0.0.1:8470"
[cloud.line]
spread_s = 0
[[building]]
id = "b1"
[[bank]]
id = "bank-a"
building = "b1"
address = "Gate 1"
compartments = [{ count = 12, size = "S" }]
[[bank]]
id = "bank-b"
building = "b1"
address = "Gate 2"
compartments = [{ count = 4, size = "S" }]
[[desk]]
id = "desk-1"
building = "b1"
address = "Office"
[[device]]
id = "sensor-b1"
building = "b1"
"""
# Every state that a technician can ask for.
STATES = {
    "expected": ["expected", "damaged-R"],
    "depositing": ["depositing"],
    "deposited": ["deposited", "at-the-desk", "cancelled", "overdue", "refused", "claimed", "wrong-R"],
    "collecting": ["collecting"],
    "collected": ["collected", "damaged", "wrong"],
    "retrieved": ["retrieved"],
    "cancelled": ["never-came", "cancelled"],
    "overdue": ["overdue"],
    "refused": ["refused"],
    "claimed": ["claimed"],
    "return": ["wrong-R"],
}


class Evening:
    """The people and devices of the estate."""

    def __init__(self, box):
        self.box, self.cloud = box, Cloud(box, SITE)
        self.codes = {}
        self.return_code = None

    def set_up(self):
        """The configuration, the services, the enrolment, the devices' passwords."""
        (self.box.path / "etc/linli").mkdir(exist_ok=True)
        (self.box.path / "etc/linli/linli.toml").write_text(CONFIGURATION)
        self.box.run("systemctl start linli-reference-cloud linli")
        until("the gateway to answer", lambda: self.box.run("linli status", check=False).out)
        token = until("the cloud to answer", self._token)
        self.box.run("linli sync enrol", said=f"{token}\n")
        passwords = {name: self._password(name) for name in ["bank-a", "bank-b", "sensor-b1"]}
        self.gate_1 = Bank(self.box, "bank-a", passwords["bank-a"], 12)
        self.gate_2 = Bank(self.box, "bank-b", passwords["bank-b"], 4)
        self.readings = Readings(self.box, passwords["sensor-b1"])
        self.gate_1.connect()
        self.gate_2.connect()
        self.cloud.courier("carl", BADGE)

    def _token(self):
        try:
            return self.cloud.token()
        except OSError:
            return None

    def _password(self, name):
        return self.box.run(f"linli device password {name}").out.split()[-1]

    def play(self):
        """Brings parcels into every state there is."""
        for parcel in ["deposited", "collected", "damaged", "wrong", "cancelled", "refused", "claimed", "retrieved"]:
            self._bring(self.gate_1, parcel)
        self._bring(self.gate_1, "overdue", deadline=int(time.time() * 1000) + 1_500)
        self._bring(self.gate_1, "collecting")
        for parcel in ["collected", "damaged", "wrong"]:
            self._collect(parcel)
        self.codes["expected"] = self.cloud.announce("expected", "bank-a")
        self._at_the_desk()
        self._going_back()
        self._half_way()
        for state, parcels in STATES.items():
            until(f"{', '.join(parcels)} to be {state}", lambda s=state, p=parcels: set(p) <= self._in_state(s))

    def _bring(self, bank, parcel, **more):
        self.codes[parcel] = self.cloud.announce(parcel, bank.name, **more)
        bank.scan(BADGE)
        number = bank.opens_for_waybill(parcel)
        bank.put_in(number, parcel)
        bank.close(number)

    def _collect(self, parcel):
        number = self.gate_1.opens_for_code(self.codes[parcel], parcel)
        holds(self.gate_1.take_out(number) == [parcel], f"{parcel} was not in compartment {number}")
        self.gate_1.close(number)
        until(f"{parcel} to be collected", lambda: parcel in self._in_state("collected"))

    def _at_the_desk(self):
        self.codes["at-the-desk"] = self.cloud.announce("at-the-desk", "desk-1")
        self.box.run("linli desk receive at-the-desk")
        claim = "linli desk claim --json {} --kind damaged --note broken --paid 12.50 --return-to bank-a"
        for parcel in ["damaged", "wrong"]:
            self.codes[f"{parcel}-R"] = json.loads(self.box.run(claim.format(parcel)).out)["code"]
        number = self.gate_1.opens_for_code(self.codes["wrong-R"], "wrong-R")
        self.gate_1.put_in(number, "wrong-R")
        self.gate_1.close(number)

    def _going_back(self):
        self.cloud.announce("never-came", "bank-a")
        for parcel in ["never-came", "cancelled", "retrieved"]:
            self.cloud.cancel(parcel)
            until(f"{parcel} to be cancelled", lambda p=parcel: p in self._in_state("cancelled"))
        self.box.run("linli desk claim refused --kind refused --note 'not mine'")
        self.box.run("linli desk claim claimed --kind damaged --note crushed")
        number = self.gate_1.opened_by(lambda: self.box.run("linli desk retrieve retrieved"))
        self.gate_1.take_out(number)
        self.gate_1.close(number)

    def _half_way(self):
        """A door that is open while the gateway is replaced, on the way in and on the way out."""
        self.codes["depositing"] = self.cloud.announce("depositing", "bank-b")
        self.gate_2.scan(BADGE)
        self.going_in = self.gate_2.opens_for_waybill("depositing")
        self.coming_out = self.gate_1.opens_for_code(self.codes["collecting"], "collecting")

    def _in_state(self, state):
        rows = json.loads(self.box.run(f"linli parcels --json --state {state}").out)
        return {row["parcel"] for row in rows}

    def seen(self):
        """What a technician sees of everything that was kept."""
        rows = self._json("linli parcels --json")
        devices = {row["device"]: row for row in self._json("linli devices --json")}
        counters = ["received", "stored", "duplicate", "quarantined", "boot"]
        return {
            "parcels": {row["parcel"]: row for row in rows},
            "histories": {row["parcel"]: self._json(f"linli parcel {row['parcel']} --json") for row in rows},
            "counters": {name: {key: devices[name][key] for key in counters} for name in ["bank-a", "bank-b"]},
            "commands": self._json("linli commands --json --limit 1000"),
            "head": self._json("linli audit verify --json"),
            "quarantine": self._json("linli quarantine --json"),
        }

    def _json(self, command):
        return json.loads(self.box.run(command).out)

    def is_all_there(self, before):
        """Whether a technician sees everything that was there before."""
        now = self.seen()
        for name, row in before["parcels"].items():
            _same(row, now["parcels"].get(name), f"the parcel {name}")
        for name, history in before["histories"].items():
            steps = now["histories"][name]["trace"][: len(history["trace"])]
            for was, step in zip(history["trace"], steps, strict=True):
                _same(was, step, f"the history of {name}")
        for name, counters in before["counters"].items():
            _same(counters, now["counters"][name], f"the counters of {name}")
        commands = {row["id"]: row for row in now["commands"]}
        for row in before["commands"]:
            _same(row, commands.get(row["id"]), f"the command {row['id']}")
        holds(before["quarantine"] == now["quarantine"], "the quarantine is another")
        holds(now["head"]["unbroken"], f"the history is broken: {now['head']}")
        holds(now["head"]["entries"] >= before["head"]["entries"], f"the history is shorter: {now['head']}")
        return now

    def goes_on(self):
        """Codes that were told before still open, and what was half way goes on."""
        self.gate_1.reconnect()
        self.gate_2.reconnect()
        self.gate_2.put_in(self.going_in, "depositing")
        self.gate_2.close(self.going_in)
        until("the deposit to be over", lambda: "depositing" in self._in_state("deposited"))
        self.gate_1.take_out(self.coming_out)
        self.gate_1.close(self.coming_out)
        until("the collection to be over", lambda: "collecting" in self._in_state("collected"))
        self._collect("deposited")
        number = self.gate_2.opens_for_code(self.codes["depositing"], "depositing")
        self.gate_2.take_out(number)
        self.gate_2.close(number)
        number = self.gate_1.opens_for_code(self.codes["damaged-R"], "damaged-R")
        self.gate_1.put_in(number, "damaged-R")
        self.gate_1.close(number)
        said = self.box.run("linli desk hand-over", said=f"{self.codes['at-the-desk']}\n").out
        holds("at-the-desk" in said, said)
        self.gate_1.refuses(self.codes["cancelled"], "not good any more")
        self.gate_1.scan(BADGE)
        number = self.gate_1.opens_for_waybill("expected")
        self.gate_1.put_in(number, "expected")
        self.gate_1.close(number)
        for parcel in ["deposited", "depositing", "collecting", "at-the-desk"]:
            told = lambda p=parcel: self.cloud.parcel(p)["state"] == "collected"  # noqa: E731
            until(f"the cloud to know that {parcel} is collected", told)
        audit = self.cloud.audit()
        holds(audit["sound"], f"the cloud doubts the history: {audit}")


def _same(was, is_, what):
    """Everything that was known is known, and says the same; a newer version may say more."""
    holds(is_ is not None, f"{what} is gone")
    changed = {key: (value, is_.get(key)) for key, value in was.items() if is_.get(key) != value}
    holds(not changed, f"{what} has changed (was, is): {changed}")


class Readings:
    """A sensor that reports all the time and, like any device, keeps each event until it is promised to be
    on disk."""

    def __init__(self, box, password):
        self._box, self._password = box, password
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._report, daemon=True)
        self.promised, self.longest_s = 0, 0.0

    def begin(self):
        self._thread.start()
        until("the first reading to be promised", lambda: self.promised > 20)

    def end(self):
        """Stops, and returns how many readings were promised."""
        seen = self.promised
        until("readings to be promised again", lambda: self.promised > seen + 20)
        self._over.set()
        self._thread.join()
        return self.promised

    def _report(self):
        client, last = None, time.monotonic()
        while not self._over.is_set():
            try:
                client = client or sensor(self._box, "sensor-b1", self._password)
                event = {"kind": "reading", "boot": 1, "seq": self.promised + 1, "senml": [{"n": "t", "v": 4.5}]}
                client.publish("linli/v1/sensor-b1/event", json.dumps(event).encode())
            except (OSError, Failed):
                client = None
                time.sleep(0.05)
                continue
            self.promised += 1
            self.longest_s = max(self.longest_s, time.monotonic() - last)
            last = time.monotonic()
