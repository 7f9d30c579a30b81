import json

import jax
import numpy as np
import pytest

from tests.learning.patterns import CENTRE, counts, SIDE, tiny, truths
from tvjax.learning import predict, Series, train, train_on
from tvjax.learning.count_network import local_rate
from tvjax.learning.loss import poisson_deviance, squared_error
from tvjax.learning.pairs import draw_batch, Pair, sum_orbits, Summed

pytestmark = pytest.mark.slow

KEY = jax.random.key(5)
# all in these few options, so that the steps are compiled once
OPTIONS = {"num_steps": 12, "batch": 2, "side": 16, "rate": 2e-3, "check_every": 4}


@pytest.fixture(scope="module")
def series():
    frames, mask = counts(6, 2.0)
    return Series.of(frames, "friedel", CENTRE, mask)


def leaves(network):
    return [np.asarray(leaf) for leaf in jax.tree.leaves(network)]


def assert_same(one, other):
    assert one.log == other.log
    for a, b in zip(leaves(one.network), leaves(other.network), strict=True):
        np.testing.assert_array_equal(a, b)


def test_both_parts_of_an_orbit_together_are_the_orbit(series):
    whole = sum_orbits(series.frames[0], "friedel", CENTRE, series.mask)
    for seed in range(12):
        pair = series.part(0, np.random.default_rng(seed))
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
                Series.of(f, "6", centre, mask).part(0, np.random.default_rng(seed))
                for f in (quiet, loud)
            )
            changed = [
                np.any(np.abs(b.counts - a.counts) > 0.1)
                for b, a in zip(before, after, strict=True)
            ]
            assert changed in ([True, False], [False, True])


def test_counts_that_are_exchanged_leave_the_rate_as_it_is():
    frames = np.full((2, SIDE, SIDE), 50)
    series = Series.of(frames, "friedel", CENTRE)
    rng = np.random.default_rng(0)
    exposures = set()
    for _ in range(20):
        pair = series.part(0, rng)
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
    pair = Series.of(frames, "friedel", CENTRE).part(0, np.random.default_rng(1))
    assert np.all(pair.target.exposure == 1) and np.any(pair.target.counts == 0)
    gap = Series.of(frames, "friedel", CENTRE, mask)
    gap = gap.part(0, np.random.default_rng(1))
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


@pytest.mark.parametrize("judge", [poisson_deviance, squared_error])
def test_loss_is_least_at_the_mean_of_the_counts(judge):
    drawn = np.random.default_rng(0).poisson(0.2, (2, 64, 64)).astype(np.float32)
    pair = Pair(*(Summed(counts, np.ones_like(counts)) for counts in drawn))
    level = drawn[1].mean()
    if judge is squared_error:  # weighted by the local mean of the input
        mean = local_rate(*pair.input)
        level = np.mean(drawn[1] / mean) / np.mean(1 / mean)
    low, least, high = (
        float(np.mean(judge(np.full_like(drawn[1], factor * level), pair)))
        for factor in (0.97, 1.0, 1.03)
    )
    assert least < low and least < high


def test_weights_of_the_squares_know_nothing_of_the_target():
    drawn = np.random.default_rng(0).poisson(0.2, (2, 64, 64)).astype(np.float32)
    one, other = (
        squared_error(
            np.zeros((64, 64)),
            Pair(Summed(drawn[0], np.ones((64, 64))), Summed(c, np.ones((64, 64)))),
        )
        for c in (drawn[1], 2 * drawn[1])
    )
    np.testing.assert_allclose(4 * one, other, rtol=1e-5)


def test_loss_falls_on_what_was_held_out(series):
    trained = train_on([series], start=tiny(), key=KEY, **OPTIONS | {"num_steps": 80})
    risks = [record["held_out"] for record in trained.log]
    # the noise of the target alone is of order one half and does not fall
    assert risks[-1] < risks[0] - 0.03
    assert [record["step"] for record in trained.log] == list(range(4, 81, 4))


def test_training_that_was_cut_off_ends_at_the_same_weights(series, tmp_path):
    whole = train_on([series], start=tiny(), key=KEY, **OPTIONS)
    file = tmp_path / "training.safetensors"

    def cut(record):
        if record["step"] == 8:
            raise KeyboardInterrupt

    keeping = {"start": tiny(), "key": KEY, "checkpoint": file} | OPTIONS
    with pytest.raises(KeyboardInterrupt):
        train_on([series], **keeping, progress=cut)
    seen = []
    assert_same(train_on([series], **keeping, progress=seen.append), whole)
    assert [record["step"] for record in seen] == [12]
    lines = (tmp_path / "training.safetensors.jsonl").read_text().splitlines()
    assert [json.loads(line) for line in lines] == list(whole.log)
    # and once more, when nothing is left to do
    assert_same(train_on([series], **keeping), whole)


def test_result_follows_from_the_key(series):
    one, again, other = (
        train_on([series], start=tiny(), key=jax.random.key(k), **OPTIONS)
        for k in (1, 1, 2)
    )
    assert_same(one, again)
    assert one.log != other.log


def test_several_symmetries_are_learned_together(series):
    y, x = np.indices((24, 30)) - np.asarray([11.5, 14.5])[:, None, None]
    rings = np.random.default_rng(0).poisson(
        1 + np.cos(np.hypot(y, x)) ** 2, (3, 24, 30)
    )
    others = Series.of(rings, "2mm", (11.5, 14.5))
    trained = train_on([series, others], start=tiny(), key=KEY, **OPTIONS)
    assert len(trained.log) == 3


def test_checkpoint_of_another_training_is_refused(series, tmp_path):
    file = tmp_path / "training.safetensors"
    keeping = {"start": tiny(), "checkpoint": file} | OPTIONS
    train_on([series], key=KEY, **keeping)
    others = Series.of(counts(6, 2.0, seed=9)[0], "friedel", CENTRE)
    for changed in (
        {"series": [others], "key": KEY},
        {"series": [series], "key": jax.random.key(6)},
        {"series": [series], "key": KEY, "num_steps": 13},
    ):
        with pytest.raises(ValueError, match="is of a training with other data"):
            train_on(**(keeping | changed))
    file.write_bytes(file.read_bytes()[:-10])
    with pytest.raises(ValueError, match="is cut short"):
        train_on([series], key=KEY, **keeping)


def test_training_stops_when_nothing_gets_better(series):
    options = OPTIONS | {"num_steps": 400, "rate": 1e-12, "patience": 2}
    trained = train_on([series], start=tiny(), key=KEY, **options)
    assert trained.log[-1]["step"] < 400


def test_diverged_training_says_so(series):
    options = OPTIONS | {"num_steps": 400, "rate": 1e18}
    with pytest.raises(FloatingPointError, match="a lower `rate`"):
        train_on([series], start=tiny(), key=KEY, **options)


def test_rate_at_few_counts_is_not_biased():
    truth = truths(12, 0.2)
    frames, mask = counts(12, 0.2)
    options = {"num_steps": 60, "batch": 4, "side": 32, "rate": 4e-3}
    trained = train(frames, "friedel", CENTRE, mask, start=tiny(), key=KEY, **options)
    summed = [sum_orbits(f.astype("f4"), "friedel", CENTRE, mask) for f in frames]
    rate = np.stack([trained.network(*both) for both in summed])
    # 12 frames of 0.2 counts in 960 pixels: 2 % of noise. Without zeros it is 5.5 times
    assert rate[:, mask].mean() == pytest.approx(truth[:, mask].mean(), rel=0.05)
    kept = np.stack(
        [predict(trained.network, f, "friedel", CENTRE, mask) for f in frames]
    )
    np.testing.assert_allclose(
        kept[:, mask].sum(axis=1), frames[:, mask].sum(axis=1), rtol=1e-5
    )
    assert np.mean((kept - truth)[:, mask] ** 2) < 0.1 * np.mean(truth)


def test_prediction_keeps_the_total_of_the_valid_counts():
    frames, mask = counts(2, 3.0)
    for average in (False, True):
        image = predict(tiny(), frames[0], "friedel", CENTRE, mask, average=average)
        assert image[mask].sum() == pytest.approx(frames[0][mask].sum(), rel=1e-5)


def test_average_has_the_symmetry():
    frames, mask = counts(2, 3.0)
    image = predict(tiny(), frames[0], "friedel", CENTRE, mask, average=True)
    np.testing.assert_allclose(np.rot90(image, 2), image, rtol=1e-5)


def test_rings_are_parted_and_predicted():
    frames, mask = counts(2, 3.0)
    pair = Series.of(frames, "azimuthal", CENTRE, mask).part(
        0, np.random.default_rng(0)
    )
    assert np.all(pair.input.exposure + pair.target.exposure >= 0)
    image = predict(tiny(), frames[0], "azimuthal", CENTRE, mask)
    assert np.all(np.isfinite(image)) and np.all(image > 0)


def test_large_frames_give_several_crops(series):
    parts = []

    def count(frame, rng):
        parts.append(frame)
        return series.part(frame, rng)

    class Watched:
        part = staticmethod(count)

    batch = draw_batch([Watched], [(0, 0), (0, 1)], 8, 4, np.random.default_rng(0))
    # 32² pixels are 8 times 8 crops of 4²
    assert len(parts) == 1 and batch.input.counts.shape == (8, 4, 4)


def test_average_knows_no_way_up():
    frames, mask = counts(2, 3.0)
    image = predict(tiny(), frames[0], "friedel", CENTRE, mask, average=True)
    turned = predict(
        tiny(), np.rot90(frames[0]), "friedel", CENTRE, np.rot90(mask), average=True
    )
    np.testing.assert_allclose(np.rot90(image), turned, rtol=1e-4)


def test_frames_without_counts_come_back_empty():
    image = predict(tiny(), np.zeros((SIDE, SIDE), int), "friedel", CENTRE)
    np.testing.assert_array_equal(image, 0)


FRAMES, MASK = counts(3, 1.0)


@pytest.mark.parametrize(
    ("frames", "group", "mask", "sentence"),
    [
        (FRAMES[:1], "friedel", MASK, "two at least, .* got 1; use `predict`"),
        (FRAMES[:0], "friedel", MASK, "two at least, .* got 0"),
        ([FRAMES[0], FRAMES[0][:5]], "friedel", MASK, r"\(5, 32\), \(32, 32\)"),
        (FRAMES[0], "friedel", MASK, r"images of one shape"),
        (FRAMES, "friedel", MASK[:5], r"`mask` must be .*\(32, 32\).*\(5, 32\)"),
        (FRAMES, "friedel", 0 * MASK, "with a valid pixel"),
        (FRAMES - 2, "friedel", MASK, "counts, finite and not negative.*-2"),
        (FRAMES * np.nan, "friedel", MASK, "counts, finite"),
        (FRAMES, "two-fold", MASK, "`group` must be one of"),
    ],
)
def test_no_series(frames, group, mask, sentence):
    with pytest.raises(ValueError, match=sentence):
        Series.of(frames, group, CENTRE, mask)


def test_options_must_be_positive(series):
    for name in ("num_steps", "batch", "side", "rate", "check_every", "patience"):
        with pytest.raises(ValueError, match=f"`{name}` must be positive, got 0"):
            train_on([series], start=tiny(), key=KEY, **OPTIONS | {name: 0})
    with pytest.raises(ValueError, match="`series` must be one at least"):
        train_on([], key=KEY, **OPTIONS)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is another device")
def test_device_that_is_not_there_is_refused(series):
    with pytest.raises(ValueError, match="`device` 'gpu' is not there.*only cpu"):
        train_on([series], start=tiny(), key=KEY, device="gpu", **OPTIONS)


def test_prediction_refuses_what_is_no_frame():
    with pytest.raises(ValueError, match="one image"):
        predict(tiny(), FRAMES, "friedel", CENTRE)
    with pytest.raises(ValueError, match="shape of the image"):
        predict(tiny(), FRAMES[0], "friedel", CENTRE, MASK[:5])
