"""Hold the lock of decoding for a moment, and write its beginning and end to the file argv[1]."""

import sys
import time

from icon_classifier.page.decode_lock import decode_lock

with decode_lock(), open(sys.argv[1], "a", buffering=1) as log:
    log.write("begin ")
    time.sleep(0.4)
    log.write("end ")
