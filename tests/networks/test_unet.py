import equinox as eqx
import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tvjax.networks.unet import (
    check_sizes,
    draw_levels,
    find_sizes,
    Layer,
    Levels,
    ResidualBlock,
    run_levels,
    UNet,
)
from tvjax.networks.weights_file import name_leaves


@pytest.fixture(scope="module")
def unet():
    return jax.jit(lambda key: UNet(3, 2, (4, 6, 5), (1, 2, 1), key=key))(
        jax.random.key(3)
    )


def test_way_down_and_up_by_hand():
    blocks = [lambda f, i=i: 2 * f + i for i in range(3)]
    half = lambda f: f[..., ::2]  # noqa: E731, of four features, two are kept
    twice = lambda f: jnp.concatenate([f, -f], axis=-1)  # noqa: E731
    levels = Levels(
        encoder=((blocks[0],), (blocks[1],)),
        down=(half,),
        up=(twice,),
        decoder=((blocks[2],),),
    )
    y = jnp.arange(4.0).reshape(1, 2, 2, 1)
    # 2 y + 0 = 0 2 4 6; half keeps 0 4; 2 f + 1 = 1 9; twice gives 1 9 -1 -9
    up = np.asarray([1, 9, -1, -9])
    expected = 2 * (up + [0, 2, 4, 6]) + 2
    np.testing.assert_array_equal(run_levels(levels, y).ravel(), expected)
    # and the same of each array of a tuple
    pair = run_levels(
        Levels(
            encoder=tuple(
                tuple(lambda f, b=b: jax.tree.map(b, f) for b in row)
                for row in levels.encoder
            ),
            down=(lambda f: jax.tree.map(half, f),),
            up=(lambda f: jax.tree.map(twice, f),),
            decoder=((lambda f: jax.tree.map(blocks[2], f),),),
        ),
        (y, y + 1),
    )
    np.testing.assert_array_equal(pair[0].ravel(), expected)
    np.testing.assert_array_equal(pair[1], run_levels(levels, y + 1))


def test_a_block_of_small_outer_weights_hardly_changes_the_features():
    def draw_layer(size, inputs, outputs, gain):
        return Layer(jnp.full((size, size, inputs, outputs), gain), jnp.zeros(outputs))

    levels = draw_levels((2, 3), (1, 1), draw_layer, ResidualBlock)
    (block,) = levels.encoder[1]
    assert block.inner.kernels.shape == block.outer.kernels.shape == (3, 3, 3, 3)
    np.testing.assert_allclose(block.outer.kernels, 0.2 * block.inner.kernels)
    assert levels.down[0].kernels.shape == (1, 1, 8, 3)
    assert levels.up[0].kernels.shape == (1, 1, 3, 8)


def test_a_block_adds_two_layers():
    ones = jnp.ones((1, 1, 1, 1))
    block = ResidualBlock(Layer(2 * ones, jnp.ones(1)), Layer(3 * ones, jnp.zeros(1)))
    y = jnp.asarray([-4.0, 0.0, 5.0]).reshape(1, 1, 3, 1)
    # f + 3 max(2 f + 1, 0)
    np.testing.assert_array_equal(block(y).ravel(), [-4, 3, 38])


def test_outputs_of_every_pixel(unet):
    assert unet.multiple == 8
    y = jnp.asarray(np.random.default_rng(0).standard_normal((16, 24, 3)), jnp.float32)
    outputs = unet(y)
    assert outputs.shape == (16, 24, 2) and np.std(outputs) > 0


def test_sizes_build_the_same_shapes_again(unet):
    assert unet.sizes == {"widths": [4, 6, 5], "blocks": [1, 2, 1]}
    assert find_sizes(unet.encoder) == unet.sizes
    again = UNet(3, 2, **unet.sizes, key=jax.random.key(3))
    for new, old in zip(jax.tree.leaves(again), jax.tree.leaves(unet), strict=True):
        # a fused multiplication may round differently
        np.testing.assert_allclose(new, old, rtol=1e-6)


def test_leaves_have_the_names_of_the_files():
    shapes = eqx.filter_eval_shape(UNet, 1, 1, (2, 3), (1, 1), key=jax.random.key(0))
    names = name_leaves(shapes)
    layers = {
        *("head", "down.0", "up.0", "tail"),
        *(f"{way}.0.0.{part}" for way in ("encoder", "decoder") for part in PARTS),
        *(f"encoder.1.0.{part}" for part in PARTS),
    }
    fields = ("kernels", "offset")
    assert set(names) == {f"{layer}.{field}" for layer in layers for field in fields}


PARTS = ("inner", "outer")


@pytest.mark.parametrize(
    ("widths", "blocks"), [((4,), (1, 1)), ((), ()), ((4, 0), (1, 1)), ((4,), (0,))]
)
def test_sizes_that_fit_no_network_are_refused(widths, blocks):
    with pytest.raises(ValueError, match="`widths` and `blocks` must be positive"):
        check_sizes(widths, blocks)
    with pytest.raises(ValueError, match="`widths` and `blocks` must be positive"):
        UNet(1, 1, widths, blocks, key=jax.random.key(0))
