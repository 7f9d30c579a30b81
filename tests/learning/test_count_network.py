import pickle
from pathlib import Path

import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp
from safetensors import safe_open
from safetensors.numpy import save_file

import tvjax.learning
from tests.learning.patterns import tiny
from tvjax.io import FileError
from tvjax.learning import CountNetwork, load_counts, predict, save_counts
from tvjax.learning.count_network import local_rate
from tvjax.metrics import mse
from tvjax.networks.weights_file import read_weights, write_weights
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import orbit_mean


@pytest.fixture(scope="module")
def network():
    """Random weights, far from those that a training begins with."""
    grown = jax.tree.map(lambda leaf: 3 * leaf + 0.1, tiny(3))
    return grown


@pytest.fixture
def weights(network, tmp_path):
    """A file of weights."""
    file = tmp_path / "weights.safetensors"
    save_counts(network, file, script="none")
    return file


def draw(shape, level=1.0, seed=0):
    counts = np.random.default_rng(seed).poisson(level, shape)
    return jnp.asarray(counts, jnp.float32), jnp.ones(shape, jnp.float32)


def rewrite(file, **facts):
    """Change what a file says about itself, as someone else's program might."""
    with safe_open(file, framework="np") as opened:
        header = opened.metadata() | facts
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}
    save_file(arrays, file, metadata=header)


def test_unit_of_exposure_is_that_of_the_rate(network):
    counts, exposure = draw((19, 26))
    rate = network(counts, exposure)
    # 1e-7 a rounding, of logarithms of order 10
    np.testing.assert_allclose(network(counts, 8 * exposure), rate / 8, rtol=1e-4)


def test_precision_is_that_of_the_counts(network):
    with jax.enable_x64(True):
        counts, exposure = draw((19, 26))
        single = network(counts, exposure)
        double = network(counts.astype(float), exposure.astype(float))
    assert single.dtype == np.float32 and double.dtype == np.float64
    np.testing.assert_allclose(single, double, rtol=1e-3)


@pytest.mark.parametrize("level", [0.0, 0.05, 1e3, 1e6])
@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (33, 17)])
def test_rate_is_positive_whatever_the_counts_and_the_shape(network, level, shape):
    rate = network(*draw(shape, level))
    assert rate.shape == shape and jnp.all(jnp.isfinite(rate)) and jnp.all(rate > 0)


@pytest.mark.parametrize("hidden", [7.0, np.nan, np.inf, -3.0])
def test_what_a_masked_pixel_holds_is_never_used(network, hidden):
    counts, exposure = draw((24, 24))
    exposure = exposure.at[5:9].set(0)
    known = network(counts.at[5:9].set(0), exposure)
    np.testing.assert_array_equal(network(counts.at[5:9].set(hidden), exposure), known)


def test_masked_pixels_are_no_dark_ones(network):
    counts, exposure = draw((24, 24), 20.0)
    dark = network(counts.at[5:9].set(0), exposure)
    masked = network(counts, exposure.at[5:9].set(0))
    assert jnp.mean(masked[5:9]) > 3 * jnp.mean(dark[5:9])


def test_without_any_exposure_there_is_an_answer(network):
    rate = network(jnp.zeros((9, 9)), jnp.zeros((9, 9)))
    assert jnp.all(jnp.isfinite(rate))


def test_local_rate_of_a_constant_is_that_constant():
    # without noise: the prior agrees with the blocks, but for half a count in all
    rate = local_rate(jnp.full((37, 50), 2.0), jnp.full((37, 50), 4.0))
    np.testing.assert_allclose(rate, 0.5, rtol=1e-3)


def test_local_rate_reaches_over_a_hole():
    exposure = jnp.zeros((40, 40)).at[:, :4].set(1.0)
    rate = local_rate(3 * exposure, exposure)
    np.testing.assert_allclose(rate, 3, rtol=0.01)


def test_gradients_are_finite_where_nothing_is_known(network):
    counts, exposure = draw((16, 16), 0.0)
    exposure = exposure.at[:8].set(0)
    slope = eqx.filter_grad(lambda n: jnp.sum(n(counts, exposure)))(network)
    assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(slope))


def test_only_one_image_a_call(network):
    for shape in ((5,), (2, 5, 5), (0, 4)):
        with pytest.raises(ValueError, match="must be one image .* each, got shapes"):
            network(jnp.zeros(shape), jnp.zeros(shape))
    with pytest.raises(ValueError, match=r"\(4, 5\) and \(5, 4\)"):
        network(jnp.zeros((4, 5)), jnp.zeros((5, 4)))


def test_sizes_must_fit():
    for widths, blocks in (((4,), (1, 1)), ((), ()), ((4, 0), (1, 1))):
        with pytest.raises(ValueError, match="`widths` and `blocks`"):
            CountNetwork(widths, blocks, key=jax.random.key(0))


def test_weights_come_back_as_they_were(network, weights):
    again = load_counts(weights)
    assert jax.tree.structure(again) == jax.tree.structure(network)
    for new, old in zip(jax.tree.leaves(again), jax.tree.leaves(network), strict=True):
        # half a unit of the last of 11 bits
        np.testing.assert_allclose(new, old, rtol=2**-11, atol=2**-25)


def test_file_cut_short_is_refused(weights):
    whole = weights.read_bytes()
    for length in (0, 5, 300, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is cut short.*anew"):
            load_counts(weights)


def test_damaged_file_is_refused(weights):
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged.*anew"):
        load_counts(weights)


@pytest.fixture
def unproved(monkeypatch):
    """Files are written without a look at what is in them."""

    def write(path, content, prove):
        path.write_bytes(content)

    monkeypatch.setattr("tvjax.networks.weights_file.replace_file", write)


@pytest.mark.usefixtures("unproved")
def test_numbers_that_are_not_finite_are_refused(network, tmp_path):
    file = tmp_path / "weights.safetensors"
    save_counts(jax.tree.map(lambda leaf: leaf * jnp.nan, network), file)
    with pytest.raises(ValueError, match="not finite"):
        load_counts(file)


def test_numbers_that_are_not_finite_get_no_file(network, tmp_path):
    file = tmp_path / "weights.safetensors"
    with pytest.raises(FileError, match="not finite"):
        save_counts(jax.tree.map(lambda leaf: leaf * jnp.nan, network), file)
    assert not list(tmp_path.iterdir())


def test_file_of_another_version_is_refused(weights):
    rewrite(weights, format="tvjax network 1")
    with pytest.raises(ValueError, match="'tvjax network 1'.*reads 'tvjax counts 1'"):
        load_counts(weights)


@pytest.mark.parametrize(
    "sizes",
    [
        {"widths": [4, 6], "blocks": [1, 10**9]},  # would be built for hours
        {"widths": [4, 10**9], "blocks": [1, 1]},
        {"widths": [4, 8], "blocks": [1, 1]},
        {"widths": [4, 6], "blocks": [1]},
        {"widths": [4, 6], "blocks": [1, 1], "key": [1]},
        {"widths": "46", "blocks": "11"},
        [4, 6],
    ],
)
@pytest.mark.usefixtures("unproved")
def test_hostile_sizes_are_refused_at_once(network, tmp_path, sizes):
    file = tmp_path / "hostile.safetensors"
    write_weights(file, network, version="tvjax counts 1", sizes=sizes, facts={})
    with pytest.raises(ValueError, match="another architecture"):
        load_counts(file)


def test_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").write_text, ("!",))

    file = tmp_path / "weights.pickle"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_counts(file)
    assert not (tmp_path / "sprung").exists()


def test_a_cut_while_writing_leaves_the_old_file(weights, network, monkeypatch):
    before = weights.read_bytes()

    def fail(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(KeyboardInterrupt):
        save_counts(network, weights, script="another")
    assert weights.read_bytes() == before
    assert read_weights(weights, version="tvjax counts 1").facts["script"] == "none"


def test_shipped_file_says_what_it_is():
    file = Path(tvjax.learning.__file__).with_name("counts.safetensors")
    facts = read_weights(file, version="tvjax counts 1").facts
    assert facts["licence"] == "BSD-3-Clause"
    assert facts["script"] == "experiments/networks/train_counts.py"
    assert "seed" in facts["settings"]


@pytest.mark.parametrize(("level", "gain"), [(0.2, 15), (50.0, 2)])
def test_shipped_weights_help_on_a_pattern_that_was_never_learned_from(level, gain):
    pattern = scattering_pattern("fibre", (96, 96), mean=level)
    counts = pattern.counts(0).astype(np.float32)
    where = {"group": pattern.group, "centre": pattern.centre, "mask": pattern.mask}
    image = predict(load_counts(), counts, **where)
    mean = orbit_mean(jnp.asarray(counts), **where).mean
    errors = [mse(x, pattern.truth, pattern.mask) for x in (image, mean)]
    assert gain * errors[0] < errors[1]
