"""Import the modules argv[1:], and print the names of all modules that are loaded then."""

import importlib
import sys

for name in sys.argv[1:]:
    importlib.import_module(name)
print(*sorted(sys.modules))
