import numpy as np
import pytest

from tests.pipeline.stand_ins import MASKED, save_frames
from tvjax.io import FileError, Frame, open_series, series_of
from tvjax.noise import describe_noise, Gaussian, Poisson, PoissonGaussian
from tvjax.pipeline.input import (
    describe_series,
    frame_range,
    images_and_masks,
    noise_model,
    open_input,
    sample_frames,
    SAMPLES,
)
from tvjax.settings import Settings


@pytest.fixture
def images():
    return np.random.default_rng(0).poisson(4.0, (3, 64, 64)).astype(np.uint32)


@pytest.mark.parametrize(
    ("text", "kind", "values"),
    [
        ("poisson:2.5", Poisson, {"gain": 2.5}),
        ("gaussian:3", Gaussian, {"sigma": 3}),
        ("mixed:2,3", PoissonGaussian, {"gain": 2, "sigma": 3, "offset": 0}),
        ("mixed:2,3,4", PoissonGaussian, {"gain": 2, "sigma": 3, "offset": 4}),
    ],
)
def test_noise_in_words(text, kind, values, images):
    model, _ = noise_model(text, images, np.ones(images.shape, bool))
    assert type(model) is kind
    assert {name: float(getattr(model, name)) for name in values} == values


@pytest.mark.parametrize(
    ("text", "kind"), [("poisson", Poisson), ("gaussian", Gaussian)]
)
def test_a_parameter_left_out_is_estimated(text, kind, images):
    mask = np.ones(images.shape, bool)
    estimate = kind.estimate(images, mask)
    assert describe_noise(noise_model(text, images, mask)[0]) == describe_noise(
        estimate
    )


def test_auto_takes_whole_numbers_for_counts_and_others_for_white_noise(images):
    mask = np.ones(images.shape, bool)
    assert type(noise_model("auto", images, mask)[0]) is Poisson
    assert type(noise_model("auto", images.astype(np.float32), mask)[0]) is Poisson
    assert type(noise_model("auto", images + np.float32(0.3), mask)[0]) is Gaussian


def test_repeats_tell_the_level_of_any_noise():
    drawn = np.random.default_rng(0).normal(size=(4, 65, 65))
    # neighbors share their noise, which one image alone tells badly
    blurred = 2 * (drawn[:, :-1] + drawn[:, 1:])[:, :, 1:] + 7.25
    mask = np.ones(blurred.shape, bool)
    noise, diagnosis = noise_model("auto", blurred, mask, repeats=True)
    assert isinstance(noise, Gaussian) and diagnosis.warnings == ()
    assert noise.sigma == pytest.approx(8**0.5, rel=0.05)
    counts = np.random.default_rng(0).poisson(3.0, (4, 64, 64))
    found, _ = noise_model("auto", counts, np.ones(counts.shape, bool), repeats=True)
    assert isinstance(found, Poisson)


@pytest.mark.parametrize(
    ("text", "expected"),
    [(None, range(9)), ("2:5", range(2, 5)), ("-3:", range(6, 9)), (":4", range(4))],
)
def test_a_range_means_positions(text, expected, counts):
    assert frame_range(series_of(counts), text) == expected


@pytest.mark.parametrize("text", ["0:10", "-10:", "5:5"])
def test_a_range_beyond_the_frames_is_refused(text, scan):
    with (
        open_series(scan) as series,
        pytest.raises(FileError, match="has the frames 0:9"),
    ):
        frame_range(series, text)


def test_a_sample_is_spread_over_the_range(counts):
    sample = sample_frames(series_of(counts), range(9))
    assert [frame.index for frame in sample] == [0, 2, 4, 6, 8]
    assert len(sample) == SAMPLES
    assert [f.index for f in sample_frames(series_of(counts), range(3, 5))] == [3, 4]


def test_frames_without_a_valid_pixel_are_no_sample(counts, tmp_path):
    counts[2] = MASKED
    sample = sample_frames(series_of(counts), range(9))
    assert [frame.index for frame in sample] == [0, 4, 6, 8]
    counts[:8] = MASKED
    scan = save_frames(tmp_path / "scan.h5", counts)
    with (
        open_series(scan) as series,
        pytest.raises(FileError, match="no valid pixel in the frames looked at"),
    ):
        sample_frames(series, range(3))


@pytest.mark.parametrize(
    ("stored", "type_"),
    [("uint8", "uint32"), ("int16", "int32"), (">f8", "float32"), ("uint32", "uint32")],
)
def test_images_have_a_type_that_jax_knows_and_zero_where_invalid(stored, type_):
    frames = np.arange(24).reshape(2, 3, 4).astype(stored)
    mask = np.ones((3, 4), bool)
    mask[1] = False
    series = series_of(frames, mask=mask)
    images, masks = images_and_masks(list(series.frames()))
    assert images.dtype == type_
    np.testing.assert_array_equal(images, np.where(mask, frames, 0))
    np.testing.assert_array_equal(masks, np.broadcast_to(mask, frames.shape))


def test_a_series_in_words(scan, counts):
    with open_series(scan) as series:
        assert describe_series(series) == f"{scan} (HDF5, 9 x 20 x 30)"
    assert describe_series(series_of(counts)) == "memory (memory, 9 x 20 x 30)"


def test_the_mask_of_a_file_is_added(scan, tmp_path):
    mask = np.ones((20, 30), bool)
    mask[:, :4] = False
    np.save(tmp_path / "mask.npy", mask)
    with open_series(scan) as series:
        known = series.mask
    with open_input(scan, Settings(mask=str(tmp_path / "mask.npy"))) as series:
        np.testing.assert_array_equal(series.mask, known & mask)


def test_a_mask_that_leaves_little_is_told(scan, tmp_path):
    mask = np.zeros((20, 30), bool)
    mask[:, :12] = True
    np.save(tmp_path / "mask.npy", mask)
    with open_input(scan, Settings(mask=str(tmp_path / "mask.npy"))) as series:
        (warning,) = series.warnings
    assert "mask.npy leaves 40.0% of the pixels valid" in warning


def test_a_mask_that_leaves_nothing_is_refused(scan, tmp_path):
    with open_series(scan) as series:
        np.save(tmp_path / "mask.npy", ~series.mask)
    with pytest.raises(FileError, match=r"leaves no pixel|no valid pixel"):
        open_input(scan, Settings(mask=str(tmp_path / "mask.npy")))


@pytest.mark.parametrize("kind", [np.int64, np.uint64])
def test_integers_of_64_bits_keep_their_value(kind):
    counts = np.arange(12).reshape(1, 3, 4).astype(kind)
    mask = np.ones((1, 3, 4), bool)
    (small,), _ = images_and_masks([Frame(0, counts[0], mask[0])])
    assert small.dtype.kind == counts.dtype.kind and small.dtype.itemsize == 4
    large = counts * kind(2**31)
    (found,), _ = images_and_masks([Frame(0, large[0], mask[0])])
    np.testing.assert_array_equal(found, large[0].astype(float))
