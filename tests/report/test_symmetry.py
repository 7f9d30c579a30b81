import json

import numpy as np
import pytest

from tvjax import plot
from tvjax.report import write_symmetry_report
from tvjax.report.symmetry import profile_of

SHAPE, CENTRE = (40, 50), (20.5, 24.0)


@pytest.fixture(scope="module")
def pattern():
    """Rings, their noise and a dead row."""
    rows, columns = np.indices(SHAPE)
    after = 50 + 40 * np.cos(np.hypot(rows - CENTRE[0], columns - CENTRE[1]) / 4)
    mask = np.ones(SHAPE, bool)
    mask[7] = False
    before = np.random.default_rng(0).poisson(after).astype(np.uint32)
    return {"before": before, "after": after, "variance": after, "mask": mask}


def test_the_profile_is_the_mean_over_each_ring(pattern):
    profile = profile_of(**pattern, centre=CENTRE)
    rows, columns = np.indices(SHAPE)
    rings = np.rint(np.hypot(rows - CENTRE[0], columns - CENTRE[1]))
    for k, radius in enumerate(profile.radius):
        ring = pattern["mask"] & (rings == radius)
        count = ring.sum()
        np.testing.assert_allclose(
            [profile.before[k], profile.after[k], profile.error[k]],
            [
                pattern["before"][ring].mean(),
                pattern["after"][ring].mean(),
                np.sqrt(pattern["variance"][ring].mean() / count),
            ],
        )
    # beyond the image there is no ring
    assert set(profile.radius) == set(rings[pattern["mask"]])


def test_a_ring_that_is_all_invalid_has_no_place_in_the_profile(pattern):
    mask = pattern["mask"].copy()
    rows, columns = np.indices(SHAPE)
    mask &= np.rint(np.hypot(rows - CENTRE[0], columns - CENTRE[1])) != 5
    profile = profile_of(**{**pattern, "mask": mask}, centre=CENTRE)
    assert 4 in profile.radius and 5 not in profile.radius
    assert np.isfinite(profile.error).all()


def test_the_pages_hold_agreement_and_profile(pattern, tmp_path):
    profile = profile_of(**pattern, centre=CENTRE)
    ring = np.arange(3.0)
    agreement = plot.RingAgreement(ring, 1 + ring / 10, ring / 10 + 0.1, 1 - ring / 3)
    page = write_symmetry_report(
        tmp_path,
        **pattern,
        summary={"group": "azimuthal"},
        agreement=agreement,
        profile=profile,
    )
    assert page.read_text().count("src='data:image/png;base64,") == 4
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["agreement"]["ratio"] == pytest.approx([1, 1.1, 1.2])
    np.testing.assert_allclose(numbers["profile"]["before"], profile.before)
    assert numbers["measured"]["residual_deviation"] == pytest.approx(1, abs=0.1)
    assert "| group | azimuthal |" in (tmp_path / "report.md").read_text()


def test_without_a_symmetry_there_are_no_pictures_of_it(pattern, tmp_path):
    write_symmetry_report(tmp_path, **pattern, summary={})
    pictures = {file.name for file in tmp_path.glob("*.png")}
    assert pictures == {"before_after.png", "residual.png"}
    numbers = json.loads((tmp_path / "report.json").read_text())
    assert numbers["agreement"] is numbers["profile"] is None
    with pytest.raises(FileExistsError, match="exists already"):
        write_symmetry_report(tmp_path, **pattern, summary={})


def test_rings_below_zero_have_no_error_and_no_warning():
    rows, columns = np.indices((21, 21)) - 10
    # a model of counts gives what lies below no light a negative variance
    level = np.where(np.hypot(rows, columns) < 5, 4.0, -1.0)
    mask = np.ones(level.shape, bool)
    profile = profile_of(level, level, level, mask, (10.0, 10.0))
    assert profile.error[0] == 2.0
    np.testing.assert_array_equal(profile.error[profile.radius > 6], 0)
