import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests.learning.patterns import CENTRE, counts, SIDE
from tvjax.learning import TrainingSeries
from tvjax.learning.pairs import draw_batch, sum_orbits


def test_both_parts_of_an_orbit_together_are_the_orbit(series):
    whole = sum_orbits(
        jnp.asarray(series.frames[0]), series.group, CENTRE, jnp.asarray(series.mask)
    )
    for seed in range(12):
        pair = series.draw_pair(0, np.random.default_rng(seed))
        if np.any(pair.input.exposure % 1):
            continue  # thinned
        for part, other, both in zip(*pair, whole, strict=True):
            np.testing.assert_allclose(part + other, both, atol=1e-5)


def test_no_pixel_of_the_detector_is_in_both_parts():
    # a sub-pixel centre: the partners are interpolated
    centre, mask = (15.3, 14.9), np.ones((SIDE, SIDE), bool)
    quiet = np.full((2, SIDE, SIDE), 0.5)  # no whole numbers: never thinned
    for place in ((3, 20), (15, 15), (16, 14), (24, 9)):
        loud = quiet.copy()
        loud[0][place] = 100.0
        for seed in range(6):
            before, after = (
                TrainingSeries.of(f, group="6", centre=centre, mask=mask).draw_pair(
                    0, np.random.default_rng(seed)
                )
                for f in (quiet, loud)
            )
            changed = [
                np.any(np.abs(b.counts - a.counts) > 0.1)
                for b, a in zip(before, after, strict=True)
            ]
            assert changed in ([True, False], [False, True])


def test_counts_that_are_exchanged_leave_the_rate_as_it_is():
    frames = np.full((2, SIDE, SIDE), 50)
    series = TrainingSeries.of(frames, group="friedel", centre=CENTRE)
    rng = np.random.default_rng(0)
    exposures = set()
    for _ in range(20):
        pair = series.draw_pair(0, rng)
        for part in pair:
            expected = 50 * float(part.exposure.sum())
            assert float(part.counts.sum()) == pytest.approx(expected, rel=0.03)
        both = pair.input.plus(pair.target)
        np.testing.assert_allclose(both.counts, 100, rtol=1e-5)
        np.testing.assert_allclose(both.exposure, 2, rtol=1e-5)
        exposures.add(round(float(pair.input.exposure.max()), 3))
    # its own part, and from a tenth to nine tenths of the other
    assert 1.1 <= min(exposures) < 1.3 and 1.7 < max(exposures) <= 1.9


def test_mask_is_the_detectors_and_zero_counts_are_data():
    frames, mask = counts(6, 0.2)
    frames = 0.5 * frames  # no whole numbers: nothing is exchanged
    pair = TrainingSeries.of(frames, group="friedel", centre=CENTRE).draw_pair(
        0, np.random.default_rng(1)
    )
    assert np.all(pair.target.exposure == 1) and np.any(pair.target.counts == 0)
    gap = TrainingSeries.of(frames, group="friedel", centre=CENTRE, mask=mask)
    gap = gap.draw_pair(0, np.random.default_rng(1))
    for part in gap:
        assert not np.any((part.exposure == 0) & (part.counts > 0))
    both = gap.target.exposure + gap.input.exposure
    # gap and partner: one of the two members is left
    np.testing.assert_array_equal(both[:, [6, 7, 24, 25]], 1)


def test_crops_of_frames_smaller_than_a_crop_are_filled_up_with_nothing(series):
    rng = np.random.default_rng(0)
    pair = draw_batch([series], [(0, 0), (0, 3)], 3, 40, rng)
    assert pair.input.counts.shape == (3, 40, 40)
    assert all(np.sum(image > 0) <= SIDE**2 for image in pair.target.exposure)


def test_large_frames_give_several_crops(series, monkeypatch):
    parts = []

    draw_pair = TrainingSeries.draw_pair

    def count(self, frame, rng):
        parts.append(frame)
        return draw_pair(self, frame, rng)

    monkeypatch.setattr(TrainingSeries, "draw_pair", count)
    batch = draw_batch([series], [(0, 0), (0, 1)], 8, 4, np.random.default_rng(0))
    # 32² pixels are 8 times 8 crops of 4²
    assert len(parts) == 1 and batch.input.counts.shape == (8, 4, 4)


FRAMES, MASK = counts(3, 1.0)


@pytest.mark.parametrize(
    ("frames", "group", "mask", "sentence"),
    [
        (FRAMES[:1], "friedel", MASK, "two at least, .* got 1; use `predict`"),
        (FRAMES[:0], "friedel", MASK, "two at least, .* got 0"),
        ([FRAMES[0], FRAMES[0][:5]], "friedel", MASK, r"\(5, 32\), \(32, 32\)"),
        (FRAMES[0], "friedel", MASK, r"images of one shape"),
        (FRAMES, "friedel", MASK[:5], r"`mask` must be .*\(32, 32\).*\(5, 32\)"),
        (FRAMES, "friedel", MASK & False, "with a valid pixel"),
        (FRAMES - 2, "friedel", MASK, "counts, finite and not negative.*-2"),
        (FRAMES * np.nan, "friedel", MASK, "counts, finite"),
        (FRAMES, "two-fold", MASK, "`group` must be one of"),
    ],
)
def test_no_series(frames, group, mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        TrainingSeries.of(frames, group=group, centre=CENTRE, mask=mask)


def test_rings_are_parted():
    frames, mask = counts(2, 3.0)
    rings = TrainingSeries.of(frames, group="azimuthal", centre=CENTRE, mask=mask)
    pair = rings.draw_pair(0, np.random.default_rng(0))
    assert np.all(pair.input.exposure + pair.target.exposure >= 0)


def test_batch_follows_from_its_generator(series):
    one, again, other = (
        draw_batch([series], [(0, 1), (0, 2)], 3, 16, np.random.default_rng(seed))
        for seed in (1, 1, 2)
    )
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert np.any(one.input.counts != other.input.counts)


def test_digest_tells_series_apart():
    frames, mask = counts(3, 1.0)
    options = {"group": "friedel", "centre": CENTRE, "mask": mask}
    digests = [
        TrainingSeries.of(frames, **options | changed).digest
        for changed in ({}, {"group": "2mm"}, {"centre": (15.5, 15.0)}, {"mask": None})
    ]
    digests.append(TrainingSeries.of(frames + mask, **options).digest)
    assert len(set(digests)) == 5
    assert TrainingSeries.of(frames.copy(), **options).digest == digests[0]
