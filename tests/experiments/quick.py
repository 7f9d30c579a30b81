"""Experiments as the tests run them."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
from matplotlib import colors, image

ROOT = Path(__file__).parents[2]


def run(module: str, folder: Path, *options: str) -> None:
    """Run an experiment on tiny images, as README says."""
    subprocess.run(
        [
            *(sys.executable, "-m", f"experiments.{module}"),
            *("--quick", "--output", folder, *options),
        ],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
        timeout=300,
    )


def run_quick(module: str, folder: Path, *options: str) -> dict:
    """Run an experiment on tiny images, and return the tables that it saved."""
    run(module, folder, *options)
    (saved,) = folder.glob("*.json")
    assert saved.with_suffix(".md").read_text().startswith("# ")
    return json.loads(saved.read_text())["tables"]


def colors_of(picture: Path) -> set[str]:
    """Which of matplotlib's ten colors of lines and points are seen in a figure."""
    pixels = image.imread(picture)[..., :3]
    near = {
        name: np.all(np.abs(pixels - colors.to_rgb(name)) < 0.02, axis=-1)
        for name in (f"C{i}" for i in range(10))
    }
    # a single marker has more pixels than these; blended borders have fewer
    return {name for name, found in near.items() if np.sum(found) >= 20}


def share_of_gray(picture: Path) -> float:
    """The share of a figure that is an image in gray, neither paper nor line."""
    pixels = image.imread(picture)[..., :3]
    gray = np.ptp(pixels, axis=-1) < 0.01
    return float(np.mean(gray & (pixels[..., 0] > 0.05) & (pixels[..., 0] < 0.95)))
