"""Run programs, and wait for conditions."""

import os
import subprocess
import sys
import time

from support import ROOT

PROGRAMS = ROOT / "tests/support/programs"  # they run in processes of their own


def python(*args, environment=None, **options):
    """Run the Python of this environment or of the named one, with the project's root on its path."""
    interpreter = ROOT / environment / "bin/python" if environment else sys.executable
    env = {**os.environ, "PYTHONPATH": str(ROOT), **options.pop("env", {})}
    return subprocess.run([str(interpreter), *args], capture_output=True, text=True, env=env, **options)


def start(*args, **options):
    """Start this Python with the project's root on its path; return the `subprocess.Popen`."""
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, *map(str, args)], env=env, **options)


def until(condition, seconds):
    """Wait until `condition()` holds; return whether it did within `seconds`."""
    end = time.monotonic() + seconds
    while not (held := condition()) and time.monotonic() < end:
        time.sleep(0.1)
    return bool(held)
