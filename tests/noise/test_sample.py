import numpy as np
import pytest

from tvjax.noise.sample import sum_squares, take_sample, TILE


def test_few_pixels_are_all_looked_at():
    y = np.random.default_rng(0).normal(size=(2, 30, 20))
    sample = take_sample(y)
    np.testing.assert_array_equal(sample.tiles, y)
    assert sample.valid.all() and sample.shape == y.shape
    np.testing.assert_array_equal(sample.places, [[0, 0, 0], [1, 0, 0]])


def test_of_many_pixels_tiles_are_taken_from_everywhere():
    rows, columns = np.indices((2100, 1800))
    sample = take_sample((rows * 2000 + columns).astype(float) + 0.5)
    assert sample.tiles.shape[1:] == (TILE, TILE)
    assert sample.tiles.size <= 2**20
    for tile, (_, row, column) in zip(sample.tiles, sample.places, strict=True):
        assert tile[0, 0] == row * 2000 + column + 0.5
    assert len(np.unique(sample.places, axis=0)) == len(sample.places)
    # all quarters of the frame are seen
    quarters = sample.places[:, 1:] // [1050, 900]
    assert len(np.unique(quarters, axis=0)) == 4


@pytest.mark.parametrize("corner", [(0, 0), (900, 1300), (1920, 1664)])
def test_a_shadow_is_looked_at_wherever_it_is(corner):
    y = np.full((2048, 1792), 400.5)
    rows, columns = (slice(start, start + 40) for start in corner)
    y[rows, columns] = 20.5
    assert take_sample(y).tiles.min() == 20.5
    # which takes no more than a sixteenth of the tiles, if all would be as dim
    dim = np.where(np.arange(2048)[:, None] < 1024, 20.5, 400.5) * np.ones(1792)
    assert 0.4 < (take_sample(dim).tiles == 20.5).mean() < 0.6


def test_tiles_outside_the_detector_come_last():
    mask = np.zeros((2048, 2048), bool)
    mask[:, :1024] = True
    sample = take_sample(np.ones((2048, 2048)), mask)
    assert (sample.places[:, 2] < 1024).mean() > 0.9


@pytest.mark.parametrize(
    ("values", "step"), [(1, 1), (4, 4), (0.5, 0), (2.0, 2), (2**31, 2**31)]
)
def test_the_step_is_the_greatest_common_divisor(values, step):
    counts = np.random.default_rng(1).poisson(3, (16, 16)) * values
    assert take_sample(counts).step == step


def test_few_counts_tell_no_step():
    y = np.zeros((32, 32), int)
    y[3, 4] = 6
    assert take_sample(y).step == 1


@pytest.mark.parametrize("value", [100, 65535, 4e9])
@pytest.mark.parametrize("mean", [0.01, 1, 10])
def test_lone_pixels_take_no_part(value, mean):
    y = np.random.default_rng(2).poisson(mean, (128, 128)).astype(np.uint32)
    y[10, 20] = y[50, 60] = value
    sample = take_sample(y)
    assert sample.lone == 2
    assert not sample.valid[0, 10, 20] and not sample.valid[0, 50, 60]


def test_counts_and_spots_are_no_lone_pixels():
    rng = np.random.default_rng(3)
    rows, columns = np.indices((128, 128))
    spot = 500 * np.exp(-((rows - 50) ** 2 + (columns - 60.5) ** 2) / 2)
    for mean in (0.003, 0.3, 30):
        assert take_sample(rng.poisson(mean + spot)).lone == 0


def test_what_is_not_finite_is_not_valid():
    y = np.ones((8, 8))
    y[0, 0], y[1, 1] = np.nan, np.inf
    sample = take_sample(y)
    assert not sample.valid[0, 0, 0] and not sample.valid[0, 1, 1]
    assert np.isfinite(sample.tiles).all() and sample.valid.sum() == 62


def test_sums_keep_the_variance_of_white_noise_and_double_the_mean():
    y = 5 + np.random.default_rng(4).normal(size=(257, 256))
    pairs = sum_squares(take_sample(y))
    assert pairs.tiles.shape == (1, 128, 128)
    assert pairs.tiles.mean() == pytest.approx(10, rel=0.01)
    assert pairs.tiles.var() == pytest.approx(1, rel=0.05)  # 16,384 squares
    mask = np.ones((8, 8), bool)
    mask[0, 0] = False
    expected = np.ones((1, 4, 4), bool)
    expected[0, 0, 0] = False
    found = sum_squares(take_sample(np.ones((8, 8)), mask)).valid
    np.testing.assert_array_equal(found, expected)


def test_what_tells_no_noise_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="needs images of at least 2 x 2"):
        take_sample(np.ones((1, 9)))
    with pytest.raises(ValueError, match="leaves no valid pixel"):
        take_sample(np.ones((4, 4)), np.zeros((4, 4), bool))
    with pytest.raises(ValueError, match="must be real"):
        take_sample(np.ones((4, 4), complex))
