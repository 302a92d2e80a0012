"""A fresh copy of a clean Debian root, booted by systemd-nspawn: a box on which nothing of ours has been
yet.

The copy is an overlay in memory over the cached root (`packaging/root`). The box has a network of its own
with nothing but loopback, so what it installs must lie in its apt cache before (`fetch`).
"""

import contextlib
import ctypes
import os
import subprocess
import time
from pathlib import Path

CLONE_NEWNET = 0x40000000
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "TERM": "dumb",
    "COLUMNS": "100",
    "DEBIAN_FRONTEND": "noninteractive",
}
# How long anything may take: generous, as an emulated box on a busy machine takes its time. packaging/boot
# has more of it.
patience_s = 120
EMULATED = "LoadCredential=\nSetCredential=\n"
EMULATED_GATEWAY = """\
ExecStartPre=+/bin/sh -c 'install -d -m 700 -o linli /run/handed-over'
ExecStartPre=+/bin/sh -c 'for f in /etc/linli/credentials/*; do [ ! -e "$f" ] || install -m 400 -o linli "$f" /run/handed-over/; done'
Environment=CREDENTIALS_DIRECTORY=/run/handed-over
"""
PACKAGING = Path(__file__).resolve().parent.parent


class Failed(Exception):
    """Something isn't as it should be. The text says what, for a person."""


class Done:
    """A command that has ended."""

    def __init__(self, command, code, out, err):
        self.command, self.code, self.out, self.err = command, code, out, err

    def __str__(self):
        return f"# {self.command}\n{self.out}{self.err}(ended with {self.code})"


def until(what, look, within_s=None):
    """Looks until there is something, and returns it."""
    within_s = within_s or patience_s
    end = time.monotonic() + within_s
    while True:
        seen = look()
        if seen:
            return seen
        if time.monotonic() > end:
            raise Failed(f"in vain: waited {within_s} s for {what}")
        time.sleep(0.1)


class Box:
    """Used once: `with Box(root) as box: box.fetch(…); box.boot(); box.run(…)`."""

    def __init__(self, root):
        self._lower = Path(root)
        self.emulated = _architecture(self._lower) != _architecture("/")
        # In the trial's own mount namespace.
        self._memory = Path("/mnt")
        self.path = self._memory / "box"
        self._nspawn = None
        self._leader = None

    def __enter__(self):
        _call("mount", "-t", "tmpfs", "-o", "mode=0755", "none", self._memory)
        for name in ["upper", "work", "box"]:
            (self._memory / name).mkdir()
        layers = f"lowerdir={self._lower},upperdir={self._memory}/upper,workdir={self._memory}/work"
        _call("mount", "-t", "overlay", "-o", layers, "none", self.path)
        return self

    def __exit__(self, kind, error, _):
        if error is not None and self._nspawn is not None:
            self._tell_why()
        self.power_off()

    def _tell_why(self):
        """What may help after a failure."""
        if self._leader is None:
            print((self._memory / "console.log").read_text(errors="replace")[-3000:])
            return
        last = self.run("journalctl --no-pager -n 60 -u 'linli*' -u systemd-nspawn; systemctl --failed", check=False)
        print(last.out)

    def take(self, files, folder="root"):
        """Copies files into a folder of the box."""
        _call("cp", *files, self.path / folder)

    def fetch(self, packages):
        """Fetches what these packages (names, or paths in the box) depend on, over the host's network,
        without installing anything."""
        _call("cp", "--dereference", "/etc/resolv.conf", self.path / "etc/resolv.conf")
        apt = ["apt-get", "install", "-y", "-qq", "--download-only", *packages]
        self.in_chroot(apt)

    def in_chroot(self, command):
        """Runs a command, as a list, in the box that isn't booted, on the host's network. What it says."""
        _call("mount", "-t", "proc", "proc", self.path / "proc")
        inside = ["chroot", self.path, "env", "-i", *[f"{k}={v}" for k, v in ENVIRONMENT.items()], *command]
        done = subprocess.run(inside, capture_output=True, text=True)
        _call("umount", self.path / "proc")
        if done.returncode != 0:
            raise Failed(str(Done(" ".join(map(str, command)), done.returncode, done.stdout, done.stderr)))
        return done.stdout

    def boot(self):
        """Boots it, and returns when systemd has started all there is to start."""
        if self.emulated:
            self._without_credentials()
        console = (self._memory / "console.log").open("a")
        nspawn = ["systemd-nspawn", "--quiet", "--directory", self.path, "--boot", "--machine", "box"]
        # No service of the host's is needed, nor told.
        nspawn += ["--register=no", "--keep-unit", "--private-network", "--console=read-only"]
        nspawn += ["--link-journal=no", "--resolv-conf=off", "--timezone=off"]
        self._nspawn = subprocess.Popen(nspawn, stdin=subprocess.DEVNULL, stdout=console, stderr=console)
        self._leader = until("systemd to start in the box", self._first_process)
        until("systemd in the box to be up", self._is_up)

    def _without_credentials(self):
        """The emulator of single programs knows no clone() into another mount namespace, by which systemd
        makes credentials, and a service that has any doesn't start. So they are laid out by hand, where
        the daemon looks for them."""
        units = self.path / "etc/systemd/system"
        for folder, setting in [("service.d", EMULATED), ("linli.service.d", EMULATED_GATEWAY)]:
            (units / folder).mkdir(parents=True, exist_ok=True)
            (units / folder / "emulated.conf").write_text(f"[Service]\n{setting}")

    def _first_process(self):
        if self._nspawn.poll() is not None:
            raise Failed(f"the box did not boot: systemd-nspawn ended with {self._nspawn.returncode}")
        pid = self._nspawn.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        for child in children:
            if "systemd" in Path(f"/proc/{child}/cmdline").read_text().replace("systemd-nspawn", ""):
                return int(child)
        return None

    def _is_up(self):
        state = self.run("systemctl is-system-running", check=False).out.strip()
        return state in ("running", "degraded")

    def power_off(self):
        """An orderly end."""
        if self._nspawn is None:
            return
        if self._nspawn.poll() is None and self._leader is not None:
            self.run("systemctl poweroff", check=False)
        try:
            self._nspawn.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.pull_the_plug()
        self._nspawn = None

    def pull_the_plug(self):
        """The end of a box that loses power."""
        self._nspawn.kill()
        self._nspawn.wait()

    def enter(self, command):
        """The command line that runs another one, as a list, in the box."""
        inside = ["nsenter", "--target", str(self._leader), "--all", "--root", "--wd", "--"]
        return [*inside, "env", "-i", "-C", "/root", *[f"{k}={v}" for k, v in ENVIRONMENT.items()], *command]

    def run(self, command, check=True, said=None):
        """Runs a line of shell in the box, as root, with `said` on its standard input."""
        line = self.enter(["bash", "-c", command])
        try:
            done = subprocess.run(line, input=said or "", capture_output=True, text=True, timeout=patience_s)
        except subprocess.TimeoutExpired as late:
            raise Failed(f"after {patience_s} s still running: {command}\n{late.stdout}{late.stderr}") from None
        done = Done(command, done.returncode, done.stdout, done.stderr)
        if check and done.code != 0:
            raise Failed(str(done))
        return done

    @contextlib.contextmanager
    def network(self):
        """Sockets that this thread makes within are sockets of the box."""
        libc = ctypes.CDLL(None, use_errno=True)
        own = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
        theirs = os.open(f"/proc/{self._leader}/ns/net", os.O_RDONLY)
        try:
            if libc.setns(theirs, CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "the box's network can't be entered")
            yield
        finally:
            libc.setns(own, CLONE_NEWNET)
            os.close(own)
            os.close(theirs)


def _call(*command):
    subprocess.run([str(word) for word in command], check=True)


def _architecture(root):
    """The machine that a root's programs are for, as in the ELF header of its shell."""
    return (Path(root) / "bin/bash").read_bytes()[18:20]


def clean_root(arch):
    """The folder of a clean root of this architecture, made if there is none."""
    made = subprocess.run([PACKAGING / "root", arch], stdout=subprocess.PIPE, text=True)
    root = made.stdout.strip()
    if made.returncode != 0 or not root:
        raise SystemExit(made.returncode)
    return Path(root)
