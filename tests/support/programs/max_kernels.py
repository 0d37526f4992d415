"""Print the maximum of kernels with much and with little memory; argv[1:] are the soft and hard limit of open files."""

import resource
import sys

from icon_classifier.server import capacity

resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[2])))
print(capacity.max_kernels(None, 1 << 40), capacity.max_kernels(None, 512 << 20))
print(*resource.getrlimit(resource.RLIMIT_NOFILE))
