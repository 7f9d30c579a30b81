import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.stand_ins import components_of
from tvjax.io import stack_of
from tvjax.noise import Poisson
from tvjax.pipeline.stack_outcome import (
    component_values,
    evidence_of,
    noise_values,
    Residuals,
    Shifts,
    StackOutcome,
)
from tvjax.xanes.mapping import Chemistry

SHAPE, NUM = (6, 8), 5


@pytest.fixture
def data():
    """Two components: a constant, and a peak that only the third energy has."""
    y, x = np.indices(SHAPE)
    flat = np.ones(NUM)[:, None, None] * (1 + x)
    peak = (np.arange(NUM) == 2)[:, None, None] * 5.0 * (y == 4) * (x > 3)
    return (flat + peak).astype(np.float32)


@pytest.fixture
def outcome(data):
    mask = np.ones(SHAPE, bool)
    mask[0] = False
    components = components_of(data, mask, 2, sigma=np.full(NUM, 0.5))
    stack = stack_of(data, np.linspace(700, 704, NUM))
    return StackOutcome(
        output=Path("clean.h5"),
        source="raw.h5 (HDF5, 5 x 6 x 8)",
        seconds=1.5,
        warnings=("look",),
        shape=stack.shape,
        energies=stack.energies,
        unit="optical density",
        noise=None,
        components=components,
        chosen=True,
        mask=mask,
        evidence=evidence_of(stack, mask, components),
        residuals=Residuals(np.full(NUM, 0.9), np.linspace(-0.1, 0.3, NUM)),
        jitter=None,
        chemistry=None,
        chemistry_before=None,
        map=None,
    )


def test_the_evidence_is_the_frame_of_most_contrast_and_pixels_of_all_levels(
    data, outcome
):
    evidence = outcome.evidence
    assert evidence.frame == 2
    np.testing.assert_array_equal(evidence.before, data[2])
    # two components make all of the data, but for single precision
    np.testing.assert_allclose(evidence.after, data[2], atol=1e-4)
    means = [data[:, y, x].mean() for y, x in evidence.pixels]
    assert means == sorted(means, reverse=True) and len(set(means)) == 3
    for (y, x), before, after in zip(
        evidence.pixels, evidence.spectra_before, evidence.spectra_after, strict=True
    ):
        assert outcome.mask[y, x]
        np.testing.assert_array_equal(before, data[:, y, x])
        np.testing.assert_allclose(after, data[:, y, x], atol=1e-4)


def test_the_report_says_how_the_stack_was_denoised(outcome):
    risk = outcome.components.relative_risk
    assert outcome.report().splitlines() == [
        "input      raw.h5 (HDF5, 5 x 6 x 8), 700 to 704 eV",
        "noise      estimated at each energy, sigma 0.5 to 0.5 optical density",
        "rank       2 of 5, chosen",
        "components 2 kept, 0 shrunk, 1 dropped",
        f"risk       0.4 of the noise's variance, {-10 * np.log10(risk):.1f} dB below "
        "the data's",
        "residual   0.900 of the noise, neighbors correlate by 0.100",
        "time       1.5 s",
        "output     clean.h5",
        "WARNING    look",
    ]


def test_shifts_and_maps_are_told_where_there_are_any(outcome):
    shifts = np.zeros((NUM, 2), np.float32)
    shifts[0] = 3, 4
    confidence = np.array([1, 1, 0, 1, 1], np.float32)
    valence = np.full(SHAPE, 2.5, np.float32)
    valence[:3] = np.nan
    found = dataclasses.replace(
        outcome,
        jitter=Shifts(shifts, confidence),
        chemistry=Chemistry(names=("a",), valence=valence),
        noise=Poisson(2.0),
        energies=None,
    )
    lines = found.report().splitlines()
    assert lines[0] == "input      raw.h5 (HDF5, 5 x 6 x 8)"
    assert lines[1].startswith("noise      Poisson, sigma")
    # the root of 3² / 5 and of 4² / 5
    assert "shifts     rms 1.34 in y, 1.79 in x (pixels), 1 frames not found" in lines
    assert "map        not written, mean valence in 50.0% of the pixels" in lines
    values = json.loads(json.dumps(found.asdict()))
    assert values["map"]["median_valence"] == 2.5
    assert values["frames_not_found"] == 1
    assert values["noise"] == {"model": "Poisson", "gain": 2.0}
    assert "energies" not in values and "map_before" not in values


def test_everything_but_images_is_plain(outcome):
    values = json.loads(json.dumps(outcome.asdict()))
    assert values["verdict"] == {"kept": 2, "dropped": 1}
    assert values["valid_pixels"] == pytest.approx(5 / 6)
    assert values["energies"] == [700, 701, 702, 703, 704]
    assert values["stack_residual_deviation"] == pytest.approx(0.9)
    assert values["noise"] == {"model": "estimated at each energy"}


def test_values_of_components_are_one_a_component(outcome):
    values = component_values(outcome.components)
    assert values["rank"] == 2
    assert len(values["coefficients"]) == len(values["relative_risks"]) == 3
    assert values["verdicts"] == ["kept", "kept", "dropped"]
    assert values["sigma"] == [0.5] * NUM


def test_noise_that_was_estimated_has_no_parameters():
    assert noise_values(None) == {"model": "estimated at each energy"}
    assert noise_values(Poisson(3.0)) == {"model": "Poisson", "gain": 3.0}


def test_residuals_of_all_frames():
    residuals = Residuals(np.array([3.0, 4.0]), np.array([0.1, 0.3]))
    assert residuals.deviation == pytest.approx(np.sqrt(12.5))
    assert residuals.correlation == pytest.approx(0.2)
