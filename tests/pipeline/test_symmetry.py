import dataclasses
from typing import NamedTuple

import jax
import numpy as np
import pytest

from tests.pipeline.stand_ins import MASKED, save_frames
from tvjax.frames import denoise
from tvjax.io import FileError
from tvjax.learning import CountNetwork, predict, save_counts
from tvjax.noise import Poisson
from tvjax.pipeline import denoise_symmetric_files
from tvjax.pipeline.symmetry import (
    describe_symmetry,
    load_weights,
    settle_symmetry,
    wanted_centre,
)
from tvjax.report import report_symmetry
from tvjax.settings import SymmetrySettings
from tvjax.symmetry import Choice, denoise_symmetric, Refused

SHAPE, CENTRE = (48, 64), (23.5, 31.0)


@pytest.fixture(scope="module")
def frames():
    """Counts of an ellipse that is turned: a two-fold axis, and no mirror."""
    y, x = np.indices(SHAPE)
    y, x = y - CENTRE[0], x - CENTRE[1]
    u, v = y + 0.6 * x, x - 0.6 * y
    truth = 0.5 + 4 * np.exp(-(((np.hypot(u, 1.6 * v) - 18) / 5) ** 2))
    counts = np.random.default_rng(0).poisson(truth, (3, *SHAPE)).astype(np.uint32)
    counts[:, 30:32] = MASKED
    return counts


@pytest.fixture(scope="module")
def spots():
    """Two frames of counts of a dozen spots that are anywhere."""
    rng = np.random.default_rng(3)
    y, x = np.indices((32, 40))
    truth = np.full(y.shape, 2.0)
    for row, column in rng.uniform((0, 0), y.shape, (12, 2)):
        truth += 200 * np.exp(-((y - row) ** 2 + (x - column) ** 2) / 8)
    return rng.poisson(truth, (2, *y.shape)).astype(np.uint32)


@pytest.fixture
def patterns(tmp_path, frames):
    return save_frames(tmp_path / "raw" / "series_master.h5", frames)


@pytest.fixture
def weights(tmp_path):
    network = CountNetwork((4, 6), (1, 1), key=jax.random.key(0))
    save_counts(network, tmp_path / "small.safetensors")
    return str(tmp_path / "small.safetensors")


def settings(**changes):
    return SymmetrySettings(group="friedel", centre="23.5,31", **changes)


def test_a_frame_becomes_what_the_library_makes_of_it(patterns, frames, tmp_path):
    outcome = denoise_symmetric_files(
        patterns, tmp_path / "c.h5", settings(frames="1:2", noise="poisson:1")
    )
    mask = frames[1] != MASKED
    expected = denoise_symmetric(
        np.where(mask, frames[1], 0),
        group="friedel",
        centre=CENTRE,
        noise=Poisson(1.0),
        mask=mask,
    )
    np.testing.assert_allclose(
        outcome.denoised.example.after[mask], expected.image[mask], rtol=1e-5
    )
    (record,) = outcome.denoised.records
    assert record.alpha == pytest.approx(float(expected.alpha), rel=1e-5)
    assert outcome.num_alone == 0 and outcome.choice.agreement.holds
    assert outcome.report().startswith("symmetry   friedel about (23.50, 31.00)")
    symmetry = outcome.asdict()["symmetry"]
    assert symmetry["group"] == "friedel" and symmetry["frames_alone"] == 0


def test_a_network_denoises_where_its_weights_are_named(
    patterns, frames, tmp_path, weights
):
    chosen = settings(method="network", weights=weights, frames="0:1")
    outcome = denoise_symmetric_files(patterns, tmp_path / "c.h5", chosen)
    mask = frames[0] != MASKED
    expected = predict(
        load_weights(weights),
        np.where(mask, frames[0], 0),
        group="friedel",
        centre=CENTRE,
        mask=mask,
    )
    after = outcome.denoised.example.after
    np.testing.assert_allclose(after[mask], np.asarray(expected)[mask], rtol=1e-4)
    assert outcome.denoised.records[0].relative_gap == 0


@pytest.mark.slow
def test_data_without_a_symmetry_are_denoised_by_themselves(tmp_path, spots):
    source = save_frames(tmp_path / "raw.h5", spots)
    outcome = denoise_symmetric_files(source, tmp_path / "c.h5")
    assert outcome.choice == Choice(None, None)
    assert outcome.report().startswith("symmetry   none that the data do not refuse")
    assert outcome.asdict()["symmetry"] == {"group": "none", "frames_alone": 0}
    frame = spots[outcome.denoised.example.frame]
    expected = denoise(frame, noise=outcome.denoised.noise)
    np.testing.assert_allclose(
        outcome.denoised.example.after, expected.image, rtol=1e-5
    )


def test_group_and_centre_are_settled_on_the_sum(frames):
    mask = frames != MASKED
    data = np.where(mask, frames, 0)
    choice = settle_symmetry(data, mask, "friedel", CENTRE, Poisson(1.0))
    facts = describe_symmetry(choice)
    assert facts["group"] == "friedel" and facts["centre"] == list(CENTRE)
    assert facts["holds"] and facts["centre_error"] == [0, 0]
    # within four standard deviations of chance
    agreement = choice.agreement
    scatter = np.sqrt(np.sum(agreement.scatter**2)) / np.sum(agreement.freedom)
    assert facts["chi_squared_per_freedom"] == pytest.approx(1, abs=4 * float(scatter))


def test_a_symmetry_that_the_data_refuse_is_refused(spots):
    mask = np.ones(spots.shape, bool)
    with pytest.raises(Refused, match="the data refuse 'friedel' about"):
        settle_symmetry(spots, mask, "friedel", (15.5, 19.5), Poisson(1.0))


def test_a_smooth_factor_is_told():
    y, x = np.indices(SHAPE)
    rings = 300 + 200 * np.cos(np.hypot(y - CENTRE[0], x - CENTRE[1]) / 4)
    tilted = rings * (1 + 0.1 * (x - CENTRE[1]) / SHAPE[1])
    counts = np.random.default_rng(0).poisson(tilted, (1, *SHAPE)).astype(np.int32)
    mask = np.ones(counts.shape, bool)
    choice = settle_symmetry(counts, mask, "friedel", CENTRE, Poisson(1.0))
    facts = describe_symmetry(choice)
    assert {"smooth_factor", "window", "share_of_the_mean"} <= facts.keys()
    # 10 % from one side to the other: ±5 %, uniformly spread
    assert facts["smooth_factor"] == pytest.approx(0.1 / 12**0.5, rel=0.3)


def test_the_centre_is_given_found_or_that_of_the_file():
    assert wanted_centre(SymmetrySettings(), (3, 4), "x") == "auto"
    assert wanted_centre(settings(), (3, 4), "x") == CENTRE
    by_file = dataclasses.replace(settings(), centre="file")
    assert wanted_centre(by_file, (3.0, 4.0), "x") == (3, 4)
    with pytest.raises(FileError, match="x.h5 does not tell the beam centre"):
        wanted_centre(by_file, None, "x.h5")


def test_weights_that_are_not_there_are_missed(tmp_path):
    with pytest.raises(FileError, match="does not exist: check the name"):
        load_weights(str(tmp_path / "none.safetensors"))


class Doubtful(NamedTuple):
    """What a pattern becomes, and what is doubtful about it."""

    image: np.ndarray
    warnings: tuple[str, ...]
    alpha: float = 0.5
    relative_gap: float = 1e-5
    converged: bool = True
    at_bound: bool = False


@pytest.mark.parametrize("total", [1, 7])
def test_what_is_doubtful_in_single_frames_is_told_of_all(
    frames, tmp_path, monkeypatch, total
):
    """Every other one; seven are more than settle the symmetry, and come again."""
    counts = np.stack([frames[0] + np.uint32(k) * (frames[0] < 99) for k in range(7)])
    source = save_frames(tmp_path / "raw.h5", counts[:total])

    def doubt(frame, **_):
        number = int(frame[0, 0]) - int(counts[0, 0, 0])
        told = (f"it is odd: {number}",) if number % 2 == 0 else ()
        return Doubtful(frame.astype(np.float32), told)

    monkeypatch.setattr("tvjax.pipeline.symmetry.denoise_symmetric", doubt)
    outcome = denoise_symmetric_files(source, tmp_path / "c.h5", settings())
    expected = "it is odd: 0" if total == 1 else "in 4 of 7 frames it is odd: 0"
    assert outcome.warnings[0] == expected
    assert outcome.report().count("it is odd") == 1
    assert outcome.asdict()["warnings"][0] == expected
    page = report_symmetry(tmp_path / "report", outcome)
    assert expected in page.read_text(encoding="utf-8")
