"""Namespaces of a trial's own: mounts, processes, host name, IPC. When the trial ends, however it ends,
the kernel kills its processes and drops its mounts; nothing has to be undone.
"""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

NAME = "LINLI_TRIAL"


def left_out(why):
    """Ends well without having run; in CI, where everything must run, it is a failure."""
    if os.environ.get("CI"):
        sys.exit(f"not possible here, and in CI it must be: {why}")
    print(f"LEFT OUT: {why}")
    sys.exit(0)


def isolated():
    """Runs this very program again inside, waits for it, and ends as it ended. Inside it returns."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if NAME in os.environ:
        _enter_cgroup(os.environ.pop(NAME))
        return
    if os.geteuid() != 0:
        left_out("only root can boot a root file system: run it with sudo")
    need("systemd-nspawn", "systemd-container")
    name = f"linli-trial-{os.getpid()}"
    # However this process ends, the trial ends with it.
    unshare = ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "--propagation", "private", "--pid", "--uts", "--ipc"]
    unshare += ["--fork", "--kill-child=KILL", "--mount-proc"]
    signal.signal(signal.SIGTERM, _interrupted)
    child = subprocess.Popen([*unshare, sys.executable, *sys.argv], env={**os.environ, NAME: name})
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.kill()
        code = 130
    child.wait()
    _remove_cgroup(name)
    sys.exit(code if code >= 0 else 1)


def _interrupted(*_):
    raise KeyboardInterrupt


def need(program, package):
    """Installs what is missing."""
    if shutil.which(program):
        return
    quiet = {"stdout": subprocess.DEVNULL, "env": {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}}
    install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", package]
    if subprocess.call(install, stderr=subprocess.DEVNULL, **quiet) == 0:
        return
    subprocess.call(["apt-get", "update", "-qq"], **quiet)
    if subprocess.call(install, **quiet) != 0:
        left_out(f"{program} isn't here and can't be installed: apt-get install {package}")


def _enter_cgroup(name):
    """systemd in a box wants one hierarchy of control groups. On a host with the old ones it gets a view
    of its own, which this namespace keeps from the host."""
    top = "/sys/fs/cgroup"
    kind = subprocess.run(["stat", "-f", "-c", "%T", top], capture_output=True, text=True, check=True)
    if kind.stdout.strip() != "cgroup2fs":
        subprocess.run(["umount", "-R", top], check=False, stderr=subprocess.DEVNULL)
        if subprocess.call(["mount", "-t", "cgroup2", "none", top]) != 0:
            left_out("the kernel gives no unified control groups, which systemd in a box needs")
    own = Path(top) / name
    own.mkdir()
    (own / "cgroup.procs").write_text("0")


def _remove_cgroup(name):
    """Removes the control groups of a trial that is over; all are empty then."""
    with tempfile.TemporaryDirectory(prefix="linli-cgroup-") as top:
        sweep = f"mount -t cgroup2 none {top} && find {top}/{name} -depth -type d -exec rmdir {{}} ';'"
        subprocess.call(["unshare", "--mount", "sh", "-c", sweep], stderr=subprocess.DEVNULL)
