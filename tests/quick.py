"""Experiments as the tests run them."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def run(name: str, folder: Path, *options: str) -> None:
    """Run an experiment on tiny images."""
    subprocess.run(
        [
            sys.executable,
            ROOT / "experiments" / f"{name}.py",
            "--quick",
            "--output",
            folder,
            *options,
        ],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_quick(name: str, folder: Path, *options: str) -> dict:
    """Run an experiment on tiny images, and return the tables that it saved."""
    run(name, folder, *options)
    (saved,) = folder.glob("*.json")
    assert saved.with_suffix(".md").read_text().startswith("# ")
    return json.loads(saved.read_text())["tables"]
