"""What tests and benchmarks share: servers, browsers, processes, stand-ins and inputs."""

from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
