"""Find a Chromium for the tests; run as a script, install the distribution's where that is possible."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
APPLICATIONS = ("Google Chrome.app/Contents/MacOS/Google Chrome", "Chromium.app/Contents/MacOS/Chromium")


def find():
    """The path of a Chromium or Chrome, or None. The variable CHROMIUM overrides."""
    candidates = [os.environ.get("CHROMIUM"), *map(shutil.which, NAMES)]
    candidates += [str(Path("/Applications", app)) for app in APPLICATIONS if Path("/Applications", app).exists()]
    return next(filter(None, candidates), None)


def install():
    """Ask Debian's or Ubuntu's package manager, as root or by a sudo that wants no password."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (sudo and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode):
        return
    print("Installing Chromium from the distribution (about a minute)", flush=True)
    for command in (["update", "-qq"], ["install", "-y", "-qq", "--no-install-recommends", "chromium"]):
        subprocess.run([*sudo, "apt-get", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    if not find():
        install()
    if not find():
        sys.exit("The tests drive a browser: install Chromium or Chrome, or set CHROMIUM to the path of one.")
