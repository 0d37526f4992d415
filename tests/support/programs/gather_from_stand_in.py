"""Gather from the search engine argv[1] and the host argv[2] into argv[3]; argv[4]: the most bytes of a file, or 0."""

import resource
import signal
import sys

from icon_classifier.training.gather import gather

signal.signal(signal.SIGINT, signal.default_int_handler)  # a program that runs in the background ignores Ctrl-C
endpoint, host, folder, size = sys.argv[1:]
if int(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(size), int(size)))  # as on a full disk, no file can grow larger
gather(["heart", "star"], folder, 40, endpoint=endpoint, allow_hosts=[host])
