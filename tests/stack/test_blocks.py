import h5py
import numpy as np
import pytest

from tvjax.noise import Gaussian, Poisson
from tvjax.stack.blocks import add_up, Blocks, project, Sliceable

SHAPE = (5, 12, 7)


class Recorder:
    """A stack that remembers what was asked of it."""

    def __init__(self, data):
        self.data, self.shape, self.dtype = data, data.shape, data.dtype
        self.largest = 0

    def __getitem__(self, place):
        part = self.data[place]
        self.largest = max(self.largest, part.size)
        return part


@pytest.fixture(scope="module")
def data():
    return np.random.default_rng(0).uniform(1, 5, SHAPE).astype(np.float32)


def blocks(data, *, mask=None, memory=2**20, progress=lambda done, total: None):
    return Blocks(data, mask, memory, progress)


def test_passes_read_no_more_than_memory_allows_and_find_the_same(data):
    row = SHAPE[0] * SHAPE[2] * 12
    recorder = Recorder(data)
    few = blocks(recorder, memory=3 * row)
    whole = blocks(data)
    gram = add_up(few, None).gram
    assert recorder.largest == 3 * SHAPE[0] * SHAPE[2]
    matrix = data.reshape(5, -1).astype(float)
    np.testing.assert_allclose(gram, matrix @ matrix.T, rtol=1e-12)
    vectors, sigma = np.linalg.qr(matrix[:, :5])[0][:, :2], np.arange(1.0, 6.0)
    seen, expected = (project(b, vectors, sigma) for b in (few, whole))
    for one, other in zip(seen[:2], expected[:2], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
    whitened = data / sigma[:, None, None]
    np.testing.assert_allclose(
        seen.images, np.tensordot(vectors, whitened, (0, 0)), rtol=1e-4
    )
    np.testing.assert_allclose(seen.power, np.sum(whitened**2, axis=0), rtol=1e-5)


def test_variance_is_that_of_the_model_and_never_negative(data):
    b = blocks(data - 3, memory=1)
    sums = add_up(b, Poisson(2.0))
    expected = 2 * np.maximum(data - 3, 0).mean(axis=(1, 2))
    np.testing.assert_allclose(sums.variance, expected, rtol=1e-5)
    # a level for each pixel is cut like the data
    level = np.random.default_rng(2).random(SHAPE[1:])
    sums = add_up(b, Gaussian(level))
    np.testing.assert_allclose(sums.variance, np.mean(level**2), rtol=1e-5)


def test_invalid_pixels_count_nowhere(data):
    mask = np.random.default_rng(1).random(SHAPE[1:]) < 0.8
    spoiled = np.where(mask, data, np.nan)
    b = blocks(spoiled, mask=mask)
    matrix = data[:, mask].astype(float)
    sums = add_up(b, Poisson())
    np.testing.assert_allclose(sums.gram, matrix @ matrix.T, rtol=1e-6)
    np.testing.assert_allclose(sums.variance, matrix.mean(axis=1), rtol=1e-6)
    images = project(b, np.eye(5), np.ones(5)).images
    np.testing.assert_array_equal(images, np.where(mask, data, 0))


def test_progress_counts_both_passes(data):
    told = []
    b = blocks(data, memory=1, progress=lambda *pair: told.append(pair))
    add_up(b, None)
    project(b, np.eye(5), np.ones(5))
    assert told == [(row, 24) for row in range(1, 25)]


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(np.nan, r"frames 2 .* hold NaN or infinite"), (0, "frames 2 .* hold zero in")],
)
def test_bad_frames_are_named(data, value, sentence):
    bad = np.where(np.arange(5)[:, None, None] == 2, value, data)
    with pytest.raises(ValueError, match=sentence):
        add_up(blocks(bad), None)


def test_arrays_and_datasets_can_be_sliced(data, tmp_path):
    assert isinstance(data, Sliceable)
    assert not isinstance([1.0, 2.0], Sliceable)
    with h5py.File(tmp_path / "stack.h5", "w") as file:
        dataset = file.create_dataset("y", data=data)
        assert isinstance(dataset, Sliceable)
        gram = add_up(blocks(dataset), None).gram
    np.testing.assert_array_equal(gram, add_up(blocks(data), None).gram)


def test_coarse_sums_are_those_of_binned_pixels():
    data = np.random.default_rng(3).random((3, 32, 16))
    coarse = add_up(blocks(data), None).coarse
    for side, gram in zip((4, 16), coarse, strict=True):
        bins = data.reshape(3, 32 // side, side, 16 // side, side).sum((2, 4)) / side
        flat = bins.reshape(3, -1)
        np.testing.assert_allclose(gram, flat @ flat.T, rtol=1e-5)  # float32


@pytest.mark.parametrize("scale", [1e-22, 1e22])
def test_a_projection_has_no_unit(data, scale):
    vectors, sigma = np.eye(len(data))[:, :2], np.ones(len(data))
    expected, found = (
        project(
            Blocks(
                (c * data).astype(np.float32), None, 2**20, lambda done, total: None
            ),
            vectors,
            c * sigma,
        )
        for c in (1.0, scale)
    )
    # the square of either scale is beyond single precision
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5)
