"""Share servers, browsers, processes, stand-ins and inputs between tests and benchmarks."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
