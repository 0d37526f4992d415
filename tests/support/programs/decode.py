"""Print the size of the photo argv[1] and the number of threads, or the error. The modules argv[2:] are missing."""

import os
import sys

sys.modules.update(dict.fromkeys(sys.argv[2:]))

from icon_classifier.images import open_image  # noqa: E402

try:
    print(open_image(sys.argv[1]).size, len(os.listdir("/proc/self/task")))
except ValueError as error:
    print(error)
