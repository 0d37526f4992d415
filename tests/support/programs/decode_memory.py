"""Print the MB that decoding the photo argv[1] to argv[3] pixels (or None) takes, after decoding the small argv[2]."""

import re
import sys
from pathlib import Path

from icon_classifier.images import open_image


def most(what):
    return int(re.search(what + r":\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


photo = Path(sys.argv[1]).read_bytes()
longest = None if sys.argv[3] == "None" else int(sys.argv[3])
open_image(Path(sys.argv[2]).read_bytes())
Path("/proc/self/clear_refs").write_text("5")  # reset VmHWM
before = most("VmRSS")
open_image(photo, max_side=longest)
print(most("VmHWM") - before)
