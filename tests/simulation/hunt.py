"""Plants a bug in a copy of the sources and lets its hunter look for it."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.simulation.planted import SOURCES, Planted

ROOT = Path(__file__).parents[2]
SEARCH = """
import sys
from tests.simulation.runs import run_seed
import optimizer
assert optimizer.__file__.startswith(sys.argv[1]), optimizer.__file__
for seed in range(int(sys.argv[2])):
    violations = run_seed(seed).violations
    if violations:
        print(f"seed {seed}: {violations[0][:160]}")
        sys.exit(1)
"""


def hunt(bug: Planted, seeds: int) -> str | None:
    """How the bug shows itself, None when it stayed hidden for that many seeds."""
    with tempfile.TemporaryDirectory() as folder:
        shutil.copytree(SOURCES, Path(folder) / "optimizer", ignore=shutil.ignore_patterns("__pycache__"))
        bug.apply(Path(folder) / "optimizer")
        environment = {**os.environ, "PYTHONPATH": f"{folder}:{ROOT}", "PYTHONDONTWRITEBYTECODE": "1"}
        if bug.hunter == "simulation":
            command = [sys.executable, "-c", SEARCH, folder, str(seeds)]
        else:
            settings = ["-p", "no:cacheprovider", "-o", f"pythonpath={folder} .", "-x", "-q", "--no-header"]
            command = [sys.executable, "-m", "pytest", *settings, bug.hunter]
        try:
            done = subprocess.run(
                command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=900, check=False
            )
        except subprocess.TimeoutExpired:
            return "it never ended"
    if done.returncode == 0:
        return None
    lines = (done.stdout + done.stderr).strip().splitlines()
    return next((line for line in reversed(lines) if line.startswith(("seed", "FAILED"))), lines[-1] if lines else "?")
