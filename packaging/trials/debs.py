"""The packages of a folder."""

import subprocess
from pathlib import Path

from box import Failed

NAMES = ["linli", "linli-reference-cloud"]


def packages_of(folder, arch):
    """Both packages of this architecture, the newest of each, as paths."""
    return [_newest(Path(folder), name, arch) for name in NAMES]


def _newest(folder, name, arch):
    found = sorted(folder.glob(f"{name}_*_{arch}.deb"), key=lambda path: path.stat().st_mtime)
    if not found:
        raise SystemExit(f"no {name}_*_{arch}.deb in {folder}: make it with packaging/build {arch} {folder}")
    return found[-1]


def field(deb, name):
    """A field of a package, as 'Version'."""
    done = subprocess.run(["dpkg-deb", "-f", str(deb), name], capture_output=True, text=True)
    if done.returncode != 0:
        raise Failed(f"{deb} is no package: {done.stderr}")
    return done.stdout.strip()


def install_line(debs):
    """The command that installs these in a box that has them in /root."""
    return "apt-get install -y -qq " + " ".join(f"./{deb.name}" for deb in debs)
