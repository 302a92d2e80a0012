"""A virtual machine with a kernel of Debian's own: the clean root, with packages installed, as its memory's
file system. Its serial lines are: the console (a log), a shell (which answers as a box does), and one for
the gateway, at whose other end somebody scans a waybill every second.

Emulated, which takes minutes to boot; with LINLI_KVM=1 by the processor itself.
"""

import base64
import os
import socket
import subprocess
import threading
import time
from pathlib import Path

from box import Done, Failed, until

BOOTED_WITHIN_S = 1_200
ANSWER_WITHIN_S = 600
KINDS = {
    # program, machine, console, the shell's line, the gateway's line, kernel package, what else
    "amd64": ("qemu-system-x86_64", "q35", "ttyS0", "/dev/ttyS1", "/dev/ttyS2", "linux-image-amd64", []),
    "arm64": ("qemu-system-aarch64", "virt", "ttyAMA0", "/dev/ttyS0", "/dev/ttyS1", "linux-image-arm64", ["-cpu", "cortex-a72"]),
}
GREETING = "the-shell-is-there"
SHELL = """\
[Unit]
Description=The shell of the trial
After=basic.target
[Service]
ExecStart=/bin/bash -c 'stty -F {line} raw -echo 115200; echo {greeting} >{line}; exec /bin/bash --norc <{line} >{line} 2>&1'
Environment=HOME=/root LANG=C.UTF-8 TERM=dumb COLUMNS=100 DEBIAN_FRONTEND=noninteractive
WorkingDirectory=/root
Restart=always
[Install]
WantedBy=multi-user.target
"""


class Machine:
    """A box (an overlay that isn't booted) as a virtual machine."""

    def __init__(self, box, arch, folder):
        self._box, self._folder = box, Path(folder)
        self._program, self._machine, self._console, self._line, self.serial, self._kernel, self._more = KINDS[arch]
        self._qemu = self._shell = self._image = None
        self._commands = 0

    def boot(self):
        """Returns when the shell answers. How long the kernel and systemd took, s."""
        unit = self._box.path / "etc/systemd/system/trial-shell.service"
        unit.write_text(SHELL.format(line=self._line, greeting=GREETING))
        self._box.in_chroot(["systemctl", "enable", "-q", "trial-shell"])
        # A login on the console would wait for a device manager, which a minimal root hasn't.
        self._box.in_chroot(["systemctl", "mask", "-q", f"serial-getty@{self._console}"])
        memory = self._folder / "root.cpio"
        subprocess.run(f"find . -xdev | cpio --quiet -o -H newc >{memory}", shell=True, check=True, cwd=self._box.path)
        begun = time.monotonic()
        command = [self._program, "-machine", self._machine, *self._more, "-m", "2048", "-smp", "2"]
        # A /dev/kvm that is there may still run nothing, as in a virtual machine; so it must be asked for.
        if os.environ.get("LINLI_KVM"):
            command += ["-accel", "kvm", "-cpu", "host"]
        command += ["-nodefaults", "-display", "none", "-no-reboot", "-kernel", self._image, "-initrd", memory]
        command += ["-append", f"console={self._console} rdinit=/lib/systemd/systemd no_timer_check panic=-1 quiet"]
        command += ["-serial", f"file:{self._folder}/console.log"]
        for name in ["shell", "scanner"]:
            path = self._folder / name
            command += ["-chardev", f"socket,id={name},path={path},server=on,wait=off"]
            command += self._port(name)
        self._qemu = subprocess.Popen([str(word) for word in command])
        self._shell = self._connect("shell")
        self._hear(lambda heard: GREETING in heard, begun + BOOTED_WITHIN_S, "the boot")
        until("the machine to be up", self._is_up, BOOTED_WITHIN_S)
        threading.Thread(target=self._scan, daemon=True).start()
        return time.monotonic() - begun

    def _port(self, name):
        if self._machine == "q35":
            return ["-serial", f"chardev:{name}"]
        return ["-device", f"pci-serial,chardev={name}"]

    def take_kernel(self):
        """The image out of the newest kernel package; before the box's apt forgets what there is."""
        box = self._box
        depends = box.in_chroot(["apt-cache", "depends", self._kernel])
        package = next(line.split()[-1] for line in depends.splitlines() if "Depends: linux-image" in line)
        box.in_chroot(["sh", "-c", f"cd /tmp && apt-get download -qq {package}"])
        deb = next((box.path / "tmp").glob("linux-image-*.deb"))
        subprocess.run(["dpkg-deb", "-x", str(deb), str(self._folder / "kernel")], check=True)
        deb.unlink()
        self._image = next((self._folder / "kernel/boot").glob("vmlinuz-*"))

    def _connect(self, name):
        line = socket.socket(socket.AF_UNIX)

        def connects():
            if self._qemu.poll() is not None:
                raise Failed(f"qemu ended with {self._qemu.returncode}")
            return line.connect_ex(str(self._folder / name)) == 0

        until(f"the line of the {name}", connects)
        return line

    def _is_up(self):
        return self.run("systemctl is-system-running", check=False).out.strip() in ("running", "degraded")

    def console(self):
        """The last of what the console says."""
        return (self._folder / "console.log").read_text(errors="replace")[-3000:]

    def run(self, command, check=True, said=None):
        """As the box does."""
        self._commands += 1
        mark = f"@{self._commands}@"
        given = base64.b64encode((said or "").encode()).decode()
        # In pieces that a line's buffer takes, and with answers that no terminal changes.
        script = base64.b64encode(command.encode()).decode()
        lines = ["rm -f /tmp/c /tmp/i"]
        lines += [f"printf %s {script[at : at + 512]} >>/tmp/c" for at in range(0, len(script), 512)]
        lines += [f"printf %s {given[at : at + 512]} >>/tmp/i" for at in range(0, len(given), 512)] or [": >/tmp/i"]
        lines += ["base64 -d /tmp/i | bash -c \"$(base64 -d /tmp/c)\" >/tmp/o 2>/tmp/e; code=$?"]
        lines += [f"echo; echo {mark} $code $(base64 -w0 /tmp/o) . $(base64 -w0 /tmp/e) {mark}"]
        self._shell.sendall(("\n".join(lines) + "\n").encode())
        heard = self._hear(lambda heard: heard.count(mark) == 2, time.monotonic() + ANSWER_WITHIN_S, command)
        code, rest = heard.split(mark)[1].strip().split(" ", 1)
        out, err = (base64.b64decode(part.strip()).decode(errors="replace") for part in rest.split("."))
        done = Done(command, int(code), out, err)
        if check and done.code != 0:
            raise Failed(str(done))
        return done

    def _hear(self, enough, end, what):
        heard = ""
        while not enough(heard):
            self._shell.settimeout(max(0.1, end - time.monotonic()))
            try:
                more = self._shell.recv(65536)
            except TimeoutError:
                raise Failed(f"the machine did not answer to: {what}\n{heard[-500:]}\n{self.console()}") from None
            if not more:
                raise Failed(f"the machine is gone\n{self.console()}")
            heard += more.decode(errors="replace")
        return heard

    def _scan(self):
        scanner = self._connect("scanner")
        while True:
            try:
                scanner.sendall(b"SF-0815\r")
            except OSError:
                return
            time.sleep(1)

    def power_off(self):
        """An orderly end, or none."""
        if self._qemu is None or self._qemu.poll() is not None:
            return
        self._shell.sendall(b"systemctl poweroff\n")
        try:
            self._qemu.wait(timeout=120)
        except subprocess.TimeoutExpired:
            self._qemu.kill()
            self._qemu.wait()
