"""Run code in a new Python process, which has imported nothing yet."""

import subprocess
import sys


def run_python(code: str) -> subprocess.CompletedProcess:
    """Run `code` and capture its output as text."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
