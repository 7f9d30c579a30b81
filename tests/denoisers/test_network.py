import pickle

import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp
from safetensors import safe_open
from safetensors.numpy import save_file

import tvjax
from tvjax.denoisers import load_network, Network, save_network
from tvjax.denoisers.network import fill
from tvjax.simulate import xanes_stack

SIDE = 96


@pytest.fixture(scope="module")
def trained():
    """With a mask that hides nothing, so that all tests share one compilation."""
    return load_network(mask=np.ones((SIDE, SIDE), bool))


@pytest.fixture(scope="module")
def small():
    """Random weights, far from those that a training ends at."""
    return jax.jit(lambda key: Network((4, 6), (1, 1), key=key))(jax.random.key(3))


@pytest.fixture
def weights(small, tmp_path):
    """A file of weights."""
    file = tmp_path / "weights.safetensors"
    save_network(small, file, script="none")
    return file


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def rewrite(file, **facts):
    """Change what a file says about itself, as someone else's program might."""
    with safe_open(file, framework="np") as opened:
        header = opened.metadata() | facts
        arrays = {name: opened.get_tensor(name) for name in opened.keys()}
    save_file(arrays, file, metadata=header)


@pytest.mark.parametrize("factor", [3.7, -1.0, 1e-3])
def test_scale_sign_and_offset_pass_through(small, factor):
    with jax.enable_x64(True):
        y = jnp.asarray(noise(19, 26))
        image = small(y)
        # 1e-16 a rounding, of numbers of order 7
        np.testing.assert_allclose(
            small(factor * y + 7), factor * image + 7, atol=1e-12
        )
        assert np.abs(image - y).max() > 0.01


def test_trained_weights_know_neither_scale_nor_sign_nor_offset(trained):
    y = jnp.asarray(noise(SIDE, SIDE), jnp.float32)
    expected = -20 * trained(y) + 30
    np.testing.assert_allclose(trained(-20 * y + 30), expected, atol=1e-3)


def test_constant_image_is_kept_up_to_its_border(small):
    y = jnp.full((33, 17), 7.0)
    np.testing.assert_allclose(small(y), y, rtol=1e-5)


def test_slope_along_the_image_is_the_output(small):
    # Euler's identity for what is homogeneous of degree one: J(y) y = D(y)
    with jax.enable_x64(True):
        y = jnp.asarray(noise(14, 9))
        image, along = jax.jvp(small, (y,), (y,))
    np.testing.assert_allclose(along, image, atol=1e-12)


def test_forward_and_reverse_derivatives_agree(small):
    with jax.enable_x64(True):
        y, u, v = (jnp.asarray(noise(14, 9, seed=s)) for s in range(3))
        forward = jax.jvp(small, (y,), (u,))[1]
        (reverse,) = jax.vjp(small, y)[1](v)
        np.testing.assert_allclose(jnp.sum(v * forward), jnp.sum(reverse * u))


@pytest.mark.parametrize("shape", [(1, 1), (2, 9), (33, 17)])
def test_any_shape(small, shape):
    y = jnp.asarray(noise(*shape), jnp.float32)
    image = small(y)
    assert image.shape == shape and np.isfinite(image).all()


def test_only_one_image_a_call(small):
    for y in (jnp.zeros(5), jnp.zeros((2, 5, 5)), jnp.zeros((0, 4))):
        with pytest.raises(ValueError, match=r"`y` must be one image.*shape"):
            small(y)


def test_distant_pixels_are_strangers(small):
    y = jnp.asarray(noise(4, 128), jnp.float32)
    after, before = small(y.at[:, 0].add(100.0)), small(y)
    # margin, kernels and folding of two levels, added up
    reach = 2 * (1 + 2) + 4 * (2 + 2) + 2 * (2 + 1) + 8
    np.testing.assert_array_equal(after[:, reach:], before[:, reach:])
    assert np.abs(after - before)[:, 8:].max() > 1e-3


def test_holes_are_filled_by_the_mean_around():
    y = jnp.asarray([[1.0, 3.0, 9.0], [np.nan, 8.0, 9.0], [5.0, np.nan, 9.0]])
    mask = jnp.isfinite(y)
    # the squares of the holes hold 1, 3, 8, and 5
    np.testing.assert_allclose(fill(y, mask), [[1, 3, 9], [4, 8, 9], [5, 5, 9]])
    np.testing.assert_array_equal(fill(y, jnp.zeros((3, 3), bool)), 0)


def test_wide_hole_is_filled_from_afar():
    mask = np.zeros((50, 70), bool)
    mask[49, 69] = True
    filled = jax.jit(fill)(jnp.full((50, 70), 4.0), jnp.asarray(mask))
    np.testing.assert_array_equal(filled, 4.0)


def test_mask_of_another_shape_is_refused():
    with pytest.raises(ValueError, match=r"shape of the mask, \(4, 5\), got \(5, 4\)"):
        load_network(mask=np.ones((4, 5), bool))(jnp.zeros((5, 4)))


def test_gap_of_a_detector_costs_its_neighbors_little(trained):
    truth, y = scene(0.1)
    mask = np.ones((SIDE, SIDE), bool)
    mask[40:47] = False
    spoiled = jnp.where(mask, y, -1e6)
    image = load_network(mask=mask)(spoiled)
    np.testing.assert_array_equal(image[40:47], -1e6)
    near = np.r_[34:40, 47:53]
    with_gap = np.mean((image - truth)[near] ** 2)
    without = np.mean((trained(y) - truth)[near] ** 2)
    raw = np.mean((y - truth)[near] ** 2)
    # less is known there: but nothing like the noise comes back
    assert with_gap < 2.5 * without and with_gap < 0.1 * raw


def scene(sigma, seed=987_654):
    """A coefficient image of order one, not learned from; and the same with noise."""
    energies = np.asarray([8300.0, 8400.0])
    stack = xanes_stack(
        (SIDE, SIDE),
        energies=energies,
        num_states=3,
        arrangement="gradient",
        seed=seed,
    )
    truth = stack.thickness * np.tensordot([1.0, -0.5, 0.3], stack.fractions, 1)
    return truth, jnp.asarray(truth + sigma * noise(SIDE, SIDE), jnp.float32)


@pytest.mark.parametrize("sigma", [0.04, 0.25])
def test_shaded_particle_comes_out_better_than_by_the_best_tv(trained, sigma):
    truth, y = scene(sigma)

    @jax.jit
    def by_tv(alpha):
        return jnp.mean((tvjax.solve(y, alpha, tol=1e-3).image - truth) ** 2)

    best = min(by_tv(factor * sigma) for factor in (0.5, 0.7, 1.0, 1.4, 2.0))
    assert np.mean((trained(y) - truth) ** 2) < 0.7 * best


def test_weights_come_back_as_they_were(small, weights):
    again = load_network(weights)
    assert jax.tree.structure(again) == jax.tree.structure(small)
    for new, old in zip(jax.tree.leaves(again), jax.tree.leaves(small), strict=True):
        # half a unit of the last of 11 bits, or of the least number of 16
        np.testing.assert_allclose(new, old, rtol=2**-11, atol=2**-25)


def test_shipped_file_says_what_it_is():
    file = tvjax.denoisers.network.__file__.replace(".py", ".safetensors")
    with safe_open(file, framework="np") as opened:
        facts = opened.metadata()
    assert facts["licence"] == "BSD-3-Clause"
    assert facts["script"] == "experiments/networks/train_network.py"
    assert "seed" in facts["settings"]


def test_file_cut_short_is_refused(weights):
    whole = weights.read_bytes()
    for length in (0, 5, 300, len(whole) // 2, len(whole) - 1):
        weights.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is cut short.*anew"):
            load_network(weights)


def test_damaged_file_is_refused(weights):
    content = bytearray(weights.read_bytes())
    content[-100] ^= 1
    weights.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged.*anew"):
        load_network(weights)


def test_file_of_another_version_is_refused(weights):
    rewrite(weights, format="tvjax network 2")
    with pytest.raises(ValueError, match="'tvjax network 2'.*reads 'tvjax network 1'"):
        load_network(weights)


def test_anyone_elses_safetensors_are_refused(tmp_path):
    file = tmp_path / "other.safetensors"
    save_file({"weight": np.zeros(3, np.float32)}, file)
    with pytest.raises(ValueError, match="says to be 'of no format'"):
        load_network(file)


def test_header_with_other_sizes_is_refused(weights):
    rewrite(weights, sizes='{"widths": [4, 8], "blocks": [1, 1]}')
    with pytest.raises(ValueError, match="is damaged"):
        load_network(weights)


def test_weights_of_another_architecture_are_refused(small, tmp_path):
    file = tmp_path / "odd.safetensors"
    save_network(eqx.tree_at(lambda n: n.tail, small, small.tail[:1]), file)
    with pytest.raises(ValueError, match="another architecture"):
        load_network(file)


def test_pickle_is_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return (tmp_path.joinpath("sprung").write_text, ("!",))

    file = tmp_path / "weights.pickle"
    file.write_bytes(pickle.dumps(Trap()))
    with pytest.raises(ValueError, match="no whole safetensors file"):
        load_network(file)
    assert not (tmp_path / "sprung").exists()


def test_sizes_must_fit():
    for widths, blocks in (((4,), (1, 1)), ((), ()), ((4, 0), (1, 1))):
        with pytest.raises(ValueError, match="`widths` and `blocks`"):
            Network(widths, blocks, key=jax.random.key(0))
