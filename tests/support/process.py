"""Processes of tests, and waiting for them."""

import os
import subprocess
import sys
import time

from support import ROOT

PROGRAMS = ROOT / "tests/support/programs"  # they run in processes of their own


def python(*args, environment=None, **options):
    """Run the Python of this or the named environment, with the project's root on its path."""
    interpreter = ROOT / environment / "bin/python" if environment else sys.executable
    env = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run([str(interpreter), *args], capture_output=True, text=True, env=env, **options)


def until(condition, seconds):
    """Wait until `condition()` holds; whether it did within `seconds`."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(held)
