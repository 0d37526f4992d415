"""Find the programs that the tests drive. Run as a script, install those that are missing, if possible."""

import os
import shutil
import subprocess
import sys

ON_A_MAC = [f"/Applications/{name}.app/Contents/MacOS/{name}" for name in ("Google Chrome", "Chromium")]
# The name in sentences, the package in Debian and Ubuntu, and the files.
PROGRAMS = {
    "chromium": (
        "the browser Chromium or Chrome",
        "chromium",
        ["chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome", *ON_A_MAC],
    ),
    "haproxy": ("the proxy HAProxy", "haproxy", ["haproxy", "/usr/sbin/haproxy"]),
    "firefox": (
        "the browser Firefox",
        "firefox-esr",
        ["firefox-esr", "firefox", "/Applications/Firefox.app/Contents/MacOS/firefox"],
    ),
}
OPTIONAL = ["firefox"]  # Ubuntu has it only as a snap; without it, its test is skipped


def find(program):
    """Return the path of a program, or None. An environment variable such as CHROMIUM overrides it."""
    return next(filter(None, [os.environ.get(program.upper()), *map(shutil.which, PROGRAMS[program][2])]), None)


def install(missing):
    """Install programs with the package manager of Debian or Ubuntu, as root or if sudo needs no password."""
    sudo = [] if os.geteuid() == 0 else ["sudo", "-n"]
    if not shutil.which("apt-get") or (sudo and subprocess.run(["sudo", "-n", "true"], capture_output=True).returncode):
        return
    packages = [PROGRAMS[program][1] for program in missing]
    print(f"Installing {' and '.join(packages)} from the distribution (about a minute)", flush=True)
    install = ["install", "-y", "-qq", "--no-install-recommends"]
    # One at a time, because apt-get installs none if it does not know one.
    for command in (["update", "-qq"], *([*install, package] for package in packages)):
        subprocess.run([*sudo, "apt-get", *command], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    if missing := [program for program in PROGRAMS if not find(program)]:
        install(missing)
    if missing := [program for program in PROGRAMS if not find(program) and program not in OPTIONAL]:
        words = [f"{PROGRAMS[program][0]} (or set {program.upper()} to the path of one)" for program in missing]
        sys.exit(f"The tests need {' and '.join(words)}: install it, and run make test again.")
