"""The steps of a trial: what is tried, how long it took, and at the end how it went."""

import contextlib
import sys
import time

from box import Failed

_begun = time.monotonic()


@contextlib.contextmanager
def step(what):
    """One step. What goes wrong in it ends the trial."""
    begun = time.monotonic()
    try:
        yield
    except Exception as error:
        print(f"  ✗ {what} ({time.monotonic() - begun:.1f} s)", flush=True)
        if isinstance(error, Failed):
            sys.exit(str(error))
        raise
    print(f"  ✓ {what} ({time.monotonic() - begun:.1f} s)", flush=True)


def holds(condition, otherwise):
    """Fails with what was seen instead."""
    if not condition:
        raise Failed(str(otherwise))


def the_end(what):
    """The last line of a trial that went well."""
    print(f"{what} ({time.monotonic() - _begun:.0f} s in all)", flush=True)
