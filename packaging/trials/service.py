"""The service as systemd runs it: when it is ready, what it does when it hangs, dies or gets another
configuration, what it may do, what it costs, and that nothing secret stands in the journal. For any booted
machine: a container's or a virtual one.
"""

import json
import re
import time

from box import Failed, until
from steps import holds, step

# The exposure that systemd-analyze may find at most, and what a card of the box has room for.
EXPOSURE_MAX = 2.0
WATCHDOG_S = 4
CONFIGURATION = """\
site = "willow-court"
state_dir = "/var/lib/linli"
[control]
socket = "/run/linli/control.sock"
[broker]
listen = "127.0.0.1:1883"
[cloud]
url = "http://127.0.0.1:8470"
token_file = "credential:cloud-token"
[cloud.line]
spread_s = 0
[[building]]
id = "b1"
[[desk]]
id = "desk-1"
building = "b1"
address = "Office"
[[device]]
id = "door-b1"
building = "b1"
"""
SERIAL = """\
[[port]]
id = "scanner"
path = "{path}"
protocol = "lines"
[[device]]
id = "scanner"
building = "b1"
point = "desk-1"
serial = {{ port = "scanner", says = "scan" }}
"""


class Service:
    """linli.service of a machine, with what is known of it."""

    def __init__(self, box):
        self._box = box
        self.secrets = []

    def shows(self, name):
        """A property, as systemctl show has it."""
        return self._box.run(f"systemctl show -p {name} --value linli").out.strip()

    def answers(self):
        return self._box.run("linli status --json", check=False).out.startswith("{")

    def is_another_than(self, pid):
        """Whether it runs again, ready."""
        return self.shows("ActiveState") == "active" and self.shows("MainPID") not in ("0", pid)

    def write(self, configuration):
        self._box.run("install -m 644 /dev/stdin /etc/linli/linli.toml", said=configuration)

    def starts(self):
        """Ready means that a device is taken, and the secrets are there."""
        box = self._box
        holds(self.shows("ActiveState") == "inactive", "it runs without a configuration")
        box.run("systemctl start linli-reference-cloud")
        token = until("the cloud to answer", self._token)
        self.secrets.append(token)
        box.run("install -m 600 /dev/stdin /etc/linli/credentials/cloud-token", said=token)
        self.write(CONFIGURATION)
        box.run("systemctl start linli")
        # No waiting here: what `start` waited for is that devices are taken.
        box.run("exec 3<>/dev/tcp/127.0.0.1/1883")
        holds(self.shows("Type") == "notify", "the service says nothing to systemd")
        holds(self.shows("StatusText"), "systemctl status says nothing of it")
        until("the gateway to enrol with the token among its credentials", self._is_enrolled)
        self.secrets.append(box.run("linli device password door-b1").out.split()[-1])

    def _token(self):
        asked = self._box.run(
            "curl -s http://127.0.0.1:8470/v1/admin/tokens -H 'content-type: application/json' "
            "-d '{\"gateway\":\"willow-court\"}'",
            check=False,
        ).out
        return json.loads(asked)["token"] if asked else None

    def _is_enrolled(self):
        return self._box.run("test -s /var/lib/linli/cloud/enrolment.json", check=False).code == 0

    def reloads(self):
        """A better file is taken over, a worse one changes nothing, and nobody is dropped."""
        pid = self.shows("MainPID")
        self.write(CONFIGURATION + '[[device]]\nid = "door-b2"\nbuilding = "b1"\n')
        self._box.run("systemctl reload linli")
        holds("door-b2" in self._box.run("linli devices").out, "the new device isn't known")
        self.write(CONFIGURATION + '[[device]]\nid = "door-b3"\nbuilding = "nowhere"\n')
        worse = self._box.run("systemctl reload linli", check=False)
        holds(worse.code != 0, "a wrong configuration was reloaded without a word")
        devices = self._box.run("linli devices").out
        holds("door-b2" in devices and "door-b3" not in devices, devices)
        holds(self.shows("MainPID") == pid, "it was restarted")
        self.write(CONFIGURATION)
        self._box.run("systemctl reload linli")

    def is_restarted_when_it_hangs(self):
        """With a shorter watchdog than the package's, for the sake of the trial."""
        self._with(f"WatchdogSec={WATCHDOG_S}")
        pid = self.shows("MainPID")
        begun = time.monotonic()
        self._box.run(f"kill -STOP {pid}")
        until("the watchdog to restart it", lambda: self.is_another_than(pid))
        until("the gateway to answer", self.answers)
        journal = self._box.run("journalctl -u linli --no-pager").out
        holds("Watchdog timeout" in journal, "it was restarted, but not by the watchdog")
        self._with(None)
        return time.monotonic() - begun

    def comes_back_ever_later(self):
        """Killed again and again; how long each time until a device was taken again."""
        self._box.run("systemctl restart linli")
        waits = []
        for _ in range(4):
            pid = self.shows("MainPID")
            begun = time.monotonic()
            self._box.run(f"kill -KILL {pid}")
            until("it to come back", lambda p=pid: self.is_another_than(p))
            waits.append(time.monotonic() - begun)
        holds(waits[3] > waits[1] + 2, f"no back-off: it came back after {waits} s")
        self._box.run("systemctl restart linli")
        until("the gateway to answer", self.answers)
        return waits

    def _with(self, setting):
        folder = "/run/systemd/system/linli.service.d"
        if setting is None:
            self._box.run(f"rm -r {folder}; systemctl daemon-reload; systemctl restart linli")
            return
        self._box.run(f"mkdir -p {folder}; printf '[Service]\\n{setting}\\n' >{folder}/trial.conf")
        self._box.run("systemctl daemon-reload; systemctl restart linli")

    def reads_a_terminal(self):
        """A pseudo-terminal with a scanner at its other end, which has nothing better to do."""
        self._box.run(
            "systemd-run --quiet --unit scanner socat -u "
            "'SYSTEM:while sleep 1; do echo SF-0815; done' PTY,link=/run/scanner,raw,echo=0,mode=660,group=dialout"
        )
        until("the terminal to be there", lambda: self._box.run("test -e /run/scanner", check=False).code == 0)
        self.reads_a_serial_port("/run/scanner")
        self._box.run("systemctl stop scanner")

    def reads_a_serial_port(self, path):
        """A real UART, with nothing but what the package allows. Somebody at the other end scans."""
        self.write(CONFIGURATION + SERIAL.format(path=path))
        self._box.run("systemctl restart linli")
        until("a line to come in over the port", self._scanned)
        self.write(CONFIGURATION)
        self._box.run("systemctl restart linli")

    def _scanned(self):
        return self._box.run("linli events --json --kind scan", check=False).out.strip() not in ("", "[]")

    def exposure(self):
        """The figure of systemd-analyze, in the booted machine."""
        said = self._box.run("systemd-analyze security --no-pager linli").out
        figure = float(re.search(r"exposure level for linli.service: ([0-9.]+)", said).group(1))
        holds(figure <= EXPOSURE_MAX, f"the exposure is {figure}:\n{said}")
        return figure

    def memory_mib(self):
        """Resident, and of that its own, MiB."""
        rollup = self._box.run(f"cat /proc/{self.shows('MainPID')}/smaps_rollup").out
        kib = lambda name: int(re.search(rf"^{name}:\s+(\d+) kB", rollup, re.M).group(1))  # noqa: E731
        own = kib("Private_Clean") + kib("Private_Dirty")
        return kib("Rss") / 1024, own / 1024

    def tells_no_secret(self):
        """Neither the journal nor the list of processes holds any."""
        journal = self._box.run("journalctl --no-pager -o export | cat -v").out
        processes = self._box.run("cat /proc/[0-9]*/cmdline | tr '\\0' ' '", check=False).out
        holds("linli" in journal, "the journal is empty")
        for secret in self.secrets:
            holds(secret not in journal, "a secret stands in the journal")
            holds(secret not in processes, "a secret stands in the list of processes")

    def stops(self):
        self._box.run("systemctl stop linli")
        holds(self.shows("Result") == "success", f"it stopped with {self.shows('Result')}")
        holds(self.shows("ActiveState") == "inactive", self.shows("ActiveState"))


def try_service(box, serial=None, emulated=False):
    """All of it, step by step. `serial` is the path of a real port at whose other end somebody scans."""
    service = Service(box)
    with step("ready when devices are taken; the token comes from the service's credentials"):
        service.starts()
    with step("reload: a better file is taken over, a worse one changes nothing"):
        service.reloads()
    with step("hung: the watchdog restarts it"):
        seconds = service.is_restarted_when_it_hangs()
    print(f"    after {seconds:.1f} s, with WatchdogSec={WATCHDOG_S}")
    with step("killed again and again: it comes back, ever later"):
        waits = service.comes_back_ever_later()
    print("    after " + ", ".join(f"{wait:.1f}" for wait in waits) + " s")
    if serial:
        with step(f"a serial port ({serial}) works under the hardening"):
            service.reads_a_serial_port(serial)
    else:
        with step("a terminal works under the hardening"):
            service.reads_a_terminal()
    with step("the hardening"):
        figure = service.exposure()
    print(f"    systemd-analyze security: {figure}, at most {EXPOSURE_MAX}")
    with step("no secret in the journal, nor among the processes"):
        service.tells_no_secret()
    resident, own = service.memory_mib()
    under = " (emulated: with the emulator's)" if emulated else ""
    print(f"    resident memory {resident:.1f} MiB, its own {own:.1f} MiB{under}")
    with step("stop"):
        service.stops()
