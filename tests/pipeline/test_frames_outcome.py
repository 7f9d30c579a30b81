import json
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.stand_ins import Halve
from tvjax.frames import denoise
from tvjax.io import Tally
from tvjax.noise import Poisson
from tvjax.pipeline.frames_outcome import (
    DenoisedFrames,
    Example,
    FramesOutcome,
    Record,
)


def outcome(records=(), *, scale=16, tally=None, warnings=()):
    frames = np.ones((2, 3, 4), np.float32)
    choice = Halve()(
        frames,
        noise=Poisson(2.0),
        alpha=None,
        mask=np.ones(frames.shape, bool),
        per_frame=False,
    )
    return FramesOutcome(
        output=Path("clean.h5"),
        source="raw.h5 (HDF5, 9 x 3 x 4)",
        seconds=4.0,
        warnings=warnings,
        frames=(2, 4),
        noise=Poisson(2.0),
        choice=choice,
        records=tuple(records),
        tally=tally or Tally(),
        scale=scale,
        example=Example(2, frames[0], choice.image[0], np.ones((3, 4), bool)),
    )


def test_the_result_of_the_denoiser_has_what_files_need():
    counts = np.random.default_rng(0).poisson(3.0, (16, 16)).astype(np.int32)
    result = denoise(counts, alpha=1.0, noise=Poisson())
    assert isinstance(result, DenoisedFrames)
    assert not isinstance(counts, DenoisedFrames)


def test_what_was_written_is_told_frame_by_frame():
    records = [Record(0.5, 1e-5, True), Record(0.25, 1e-3, False)]
    found = outcome(records, tally=Tally(200.0, 202.0, 3, 1), warnings=("look",))
    assert found.report().splitlines() == [
        "input      raw.h5 (HDF5, 9 x 3 x 4), frames 2:4",
        "noise      Poisson, gain 2",
        "alpha      0.25 to 0.5",
        "converged  1 of 2 frames",
        "counts     200 before, 202 after (+1.000%)",
        "pixels     3 negative, 1 saturated",
        "time       4.0 s, 0.5 frames/s",
        "output     clean.h5",
        "scale      stored values are 16 x counts: give integration programs the gain "
        "16",
        "WARNING    look",
    ]
    assert json.loads(json.dumps(found.asdict())) == {
        "output": "clean.h5",
        "input": "raw.h5 (HDF5, 9 x 3 x 4)",
        "frames": [2, 4],
        "noise": {"model": "Poisson", "gain": 2.0},
        "diagnosis": None,
        "alpha": [0.5, 0.25],
        "relative_gap": [1e-5, 1e-3],
        "converged": [True, False],
        "counts": {
            "counts_in": 200.0,
            "counts_out": 202.0,
            "negative": 3,
            "saturated": 1,
        },
        "scale": 16,
        "warnings": ["look"],
        "seconds": 4.0,
    }


def test_a_dry_run_tells_the_strength_that_was_chosen():
    found = outcome(scale=1)
    assert found.asdict()["alpha"] == [0.25]
    assert [line.split()[0] for line in found.report().splitlines()] == [
        *("input", "noise", "alpha", "output")
    ]


@pytest.mark.parametrize("total", [0.0, 10.0])
def test_a_scan_without_a_count_does_not_change_its_total(total):
    found = outcome([Record(0.0, 0.0, True)], tally=Tally(total, total, 0, 0))
    assert "(+0.000%)" in found.report()
