"""Patterns of real detectors, whose symmetry is imperfect, against more exposure."""

import fabio
import h5py
import numpy as np
import pytest

import tvjax
from tvjax.symmetry import find_centre

pytestmark = pytest.mark.real

POISSON = tvjax.Poisson()
SHADOW = 6  # columns behind the beam stop


def decibel(before, after):
    return 10 * np.log10(before / after)


@pytest.fixture(scope="module")
def frames(data):
    """Small-angle scattering over hours of annealing; the beam passes beside."""
    with h5py.File(data / "saxs_symmetry/nexus-example.hdf5") as file:
        return file["entry/data/frames"][()]


@pytest.fixture(scope="module")
def valid(frames):
    mask = np.all(frames >= 0, axis=0)
    mask[:, :SHADOW] = False
    return mask


@pytest.fixture(scope="module")
def centre(frames, valid):
    return find_centre(frames[5], noise=POISSON, group="azimuthal", mask=valid)


def test_a_beam_beside_the_detector_is_found_by_the_curvature_of_its_rings(centre):
    # the file has (99.95, -5.65), to how many pixels it does not say
    assert abs(centre.y - 99.95) < 2
    assert abs(centre.x + 5.65) < 5


@pytest.mark.parametrize("index", [pytest.param(4, marks=pytest.mark.slow), 9])
@pytest.mark.slow
def test_one_frame_is_closer_to_the_others_by_its_rings(frames, valid, centre, index):
    others = np.delete(frames, index, axis=0).mean(axis=0)
    others *= frames[index][valid].sum() / others[valid].sum()
    own = tvjax.denoise(frames[index], noise=POISSON, mask=valid)
    both = tvjax.denoise_symmetric(
        frames[index], noise=POISSON, group="azimuthal", mask=valid
    )
    raw, alone, rings = (
        np.mean((x - others)[valid] ** 2)
        for x in (frames[index], own.image, both.image)
    )
    assert both.imperfect and both.fallback.risk < both.fallback.own_risk
    assert decibel(raw, rings) > 3
    assert rings < alone


@pytest.mark.slow
def test_a_tenth_of_the_photons_is_closer_to_the_rest_by_its_rings(data):
    with h5py.File(data / "saxs_symmetry/AgBehenate_228.hdf5") as file:
        counts = file["entry/data/data"][()]
    mask = counts < np.quantile(counts, 0.9999)
    tenth = np.random.default_rng(0).binomial(counts, 0.1)
    rest = (counts - tenth) / 9
    own = tvjax.denoise(tenth, noise=POISSON, mask=mask)
    both = tvjax.denoise_symmetric(tenth, noise=POISSON, group="azimuthal", mask=mask)
    level = np.maximum(rest, np.mean(rest[mask]) / 20)
    raw, alone, rings = (
        np.mean(((x - rest) ** 2 / level)[mask]) for x in (tenth, own.image, both.image)
    )
    assert decibel(raw, rings) > 3
    assert rings < alone


def test_the_centre_of_a_powder_is_that_of_its_calibration(data):
    file = data / "powder_calibration/CeO2_Pilatus1M.tif.bz2"
    with fabio.open(str(file)) as image:
        counts = image.data
    mask = counts >= 0
    found = find_centre(counts, noise=POISSON, mask=mask)
    # its .poni is of the image upside down: rings about (529.9, 487), tilt included
    assert abs(found.y - 529.6) < 1
    assert abs(found.x - 488) < 1.5
