import jax
import numpy as np
import pytest
from jax import lax, numpy as jnp

import tvjax
from tests import reference
from tvjax.solvers import Accuracy, blank_memory, resume

NORMS = ["isotropic", "anisotropic"]
MOSTLY_ISOTROPIC = ["isotropic", pytest.param("anisotropic", marks=pytest.mark.slow)]
SHAPE = (7, 6)
ALPHA = 0.8
TIGHT = Accuracy(tol=1e-10, max_steps=20_000)


def noisy(shape=SHAPE, seed=0):
    truth = 4 * reference.scene(*shape[-2:])
    return truth + np.random.default_rng(seed).normal(size=shape)


def normal(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape)


def exact(norm="isotropic", mask=None):
    """The image as a function of data and strength, in full precision."""

    def image(y, alpha):
        solution = tvjax.solve(y, alpha, tol=1e-13, norm=norm, mask=mask, tangent=TIGHT)
        return solution.image

    return image


def default(y, alpha):
    return tvjax.solve(y, alpha).image


@pytest.fixture(scope="module", params=NORMS)
def linear(request):
    """Image, Jacobian and derivative in the strength, computed once for each norm."""
    norm = request.param
    with jax.enable_x64(True):
        image = exact(norm)
        y = jnp.asarray(noisy())
        both = jax.jit(jax.jacfwd(image, argnums=(0, 1)))
        jacobian, along_alpha = both(y, ALPHA)
        x = np.asarray(jax.jit(image)(y, ALPHA))
    jacobian = np.asarray(jacobian).reshape(y.size, y.size)
    return norm, np.asarray(y), x, jacobian, np.asarray(along_alpha)


def test_jacobian_is_symmetric_with_spectrum_in_unit_interval(linear):
    _, _, _, jacobian, _ = linear
    # the tolerance of the tangents is 1e-10
    np.testing.assert_allclose(jacobian, jacobian.T, atol=1e-8)
    spectrum = np.linalg.eigvalsh((jacobian + jacobian.T) / 2)
    assert spectrum.min() > -1e-8 and spectrum.max() < 1 + 1e-8
    # a constant added to the data is added to the image
    np.testing.assert_allclose(jacobian.sum(1), 1, atol=1e-8)


def test_image_is_homogeneous_in_data_and_strength(linear):
    _, y, x, jacobian, along_alpha = linear
    euler = jacobian @ y.ravel() + ALPHA * along_alpha.ravel()
    np.testing.assert_allclose(euler, x.ravel(), atol=1e-8)


def test_divergence_counts_the_flat_regions():
    @jax.jit
    def jacobian(y, alpha, mask):
        return jax.jacfwd(exact("anisotropic", mask))(y, alpha)

    for seed, alpha, share in ((0, 0.4, 1.0), (1, 0.8, 0.9), (2, 1.6, 0.8)):
        y = noisy(seed=seed)
        mask = np.random.default_rng(seed).random(SHAPE) < share
        with jax.enable_x64(True):
            trace = np.einsum("ijij->ij", jacobian(y, alpha, mask))
        x = reference.rof(y, alpha, norm="anisotropic", mask=mask)
        regions = reference.flat_regions(x, mask)
        np.testing.assert_allclose(trace[mask].sum(), regions, atol=1e-6)


def test_derivatives_are_those_of_the_reference(linear):
    norm, y, _, jacobian, along_alpha = linear
    v = normal(1)

    def along_data(t):
        return reference.rof(y + t * v, ALPHA, norm=norm, num_steps=10_000)

    def along_strength(alpha):
        return reference.rof(y, alpha, norm=norm, num_steps=10_000)

    # the error is quadratic in the width, but at merging regions
    width = 1e-4
    np.testing.assert_allclose(
        jacobian @ v.ravel(),
        reference.central_difference(along_data, 0.0, 1.0, width).ravel(),
        atol=1e-3,
    )
    np.testing.assert_allclose(
        along_alpha,
        reference.central_difference(along_strength, ALPHA, 1.0, width),
        atol=1e-3,
    )


@pytest.mark.parametrize("norm", NORMS)
def test_gradient_in_an_alpha_map_is_that_of_the_reference(norm):
    y, w, direction = noisy(), normal(2), normal(3)
    alpha = np.random.default_rng(4).uniform(0.3, 1.5, SHAPE)
    alpha[3, 2] = 0  # a protected pixel has a derivative towards greater strengths
    direction[3, 2] = 1

    def loss(alpha):
        return np.sum(w * reference.rof(y, alpha, norm=norm, num_steps=10_000))

    image = exact(norm)
    with jax.enable_x64(True):
        primal = jnp.asarray(y), jnp.asarray(alpha)
        _, forward = jax.jit(
            lambda p, d: jax.jvp(lambda a: image(p[0], a), (p[1],), (d,))
        )(primal, jnp.asarray(direction))
        reverse = jax.jit(jax.grad(lambda a, y: jnp.sum(w * image(y, a))))(
            primal[1], primal[0]
        )
    inside = np.where(alpha > 0, direction, 0)
    expected = reference.central_difference(loss, alpha, inside, 1e-4)
    expected += (loss(alpha + 1e-5 * (direction - inside)) - loss(alpha)) / 1e-5
    forward, reverse = np.vdot(w, forward), np.vdot(reverse, direction)
    np.testing.assert_allclose([forward, reverse], expected, rtol=1e-3)


def test_forward_and_reverse_agree_under_every_transformation():
    image = exact()
    w = normal(2)
    ys = np.stack([noisy(seed=0), noisy(seed=1)])
    alphas = np.asarray([0.5, 1.1])

    with jax.enable_x64(True):
        forward = jax.jit(jax.vmap(jax.jacfwd(image, argnums=(0, 1))))(ys, alphas)
        jac_y, jac_alpha = (np.asarray(j) for j in forward)
        grads = jax.jit(
            jax.vmap(jax.grad(lambda y, a: jnp.sum(w * image(y, a)), argnums=(0, 1)))
        )(ys, alphas)
        pulled = jax.jit(lambda y, a: jax.vjp(image, y, a)[1](jnp.asarray(w)))(
            ys[0], alphas[0]
        )
        of_the_sum = jax.jit(jax.grad(lambda a: jnp.sum(w * jax.vmap(image)(ys, a))))(
            alphas
        )
    expected_y = np.einsum("kl,nklij->nij", w, jac_y)
    expected_alpha = np.einsum("kl,nkl->n", w, jac_alpha)
    # the tolerance of the tangents is 1e-10 of their length
    np.testing.assert_allclose(grads[0], expected_y, atol=1e-7)
    np.testing.assert_allclose(grads[1], expected_alpha, atol=1e-7)
    np.testing.assert_allclose(pulled[0], expected_y[0], atol=1e-7)
    np.testing.assert_allclose(pulled[1], expected_alpha[0], atol=1e-7)
    np.testing.assert_allclose(of_the_sum, expected_alpha, atol=1e-7)


@pytest.mark.slow
def test_derivatives_pass_through_what_jax_wraps_around_a_function():
    y = jnp.asarray(noisy(), jnp.float32)
    alphas = jnp.asarray([0.5, 1.1], jnp.float32)

    def loss(alpha):
        return jnp.sum(default(y, alpha) ** 2)

    expected = jax.jit(jax.vmap(jax.grad(loss)))(alphas)
    loops = (
        lambda alphas: jnp.sum(lax.map(loss, alphas)),
        lambda alphas: lax.scan(lambda total, a: (total + loss(a), None), 0.0, alphas)[
            0
        ],
        lambda alphas: jnp.sum(jax.jit(jax.vmap(loss))(alphas)),
        lambda alphas: jnp.sum(jax.vmap(jax.checkpoint(loss))(alphas)),
    )
    for loop in loops:
        np.testing.assert_allclose(jax.grad(loop)(alphas), expected, rtol=1e-4)
    first = jax.grad(jax.jit(loss))(alphas[0])
    _, forward = jax.jvp(jax.jit(loss), (alphas[1],), (jnp.ones_like(alphas[1]),))
    each = jax.vmap(jax.grad(jax.jit(loss)))(alphas)
    np.testing.assert_allclose([first, forward], expected, rtol=1e-4)
    np.testing.assert_allclose(each, expected, rtol=1e-4)


def test_derivatives_of_a_denoiser_applied_twice_obey_the_chain_rule():
    y = jnp.asarray(noisy(), jnp.float32)

    def twice(alpha):
        once = default(y, alpha)
        return jnp.sum(default(once, alpha) ** 2)

    slope = jax.jit(jax.grad(twice))(0.5)
    expected = reference.central_difference(
        lambda alpha: np.sum(reference.rof(reference.rof(noisy(), alpha), alpha) ** 2),
        0.5,
        1.0,
        1e-3,
    )
    np.testing.assert_allclose(slope, expected, rtol=0.02)


def test_second_derivatives_are_refused():
    y = noisy().astype(np.float32)
    with pytest.raises(NotImplementedError, match="first derivatives only"):
        jax.hessian(lambda alpha: jnp.sum(default(y, alpha) ** 2))(0.5)


def test_reverse_jacobian_is_the_forward_one(dtype):
    y = jnp.asarray(noisy((5, 4)), dtype)
    alpha = jnp.asarray(ALPHA, dtype)
    by_columns = jax.jit(jax.jacfwd(default, (0, 1)))(y, alpha)
    by_rows = jax.jit(jax.jacrev(default, (0, 1)))(y, alpha)
    for forward, reverse in zip(by_columns, by_rows, strict=True):
        assert forward.dtype == reverse.dtype == dtype
        # twice the default tolerance of 1e-3 of a tangent, of some length √20
        np.testing.assert_allclose(forward, reverse, atol=1e-2)


def test_default_accuracy_gives_the_slope_within_a_few_percent():
    y, w = noisy((24, 25)), normal(5, (24, 25))
    loss = jax.jit(jax.grad(lambda a, y: jnp.sum(w * default(y, a) ** 2)))
    slope = loss(jnp.float32(ALPHA), jnp.asarray(y, jnp.float32))

    def precise(alpha):
        with jax.enable_x64(True):
            x = jax.jit(exact())(jnp.asarray(y), alpha)
        return np.sum(w * np.asarray(x) ** 2)

    expected = reference.central_difference(precise, ALPHA, 1.0, 1e-3)
    np.testing.assert_allclose(slope, expected, rtol=0.05)


def test_volume_has_the_slope_of_the_reference():
    y, w = noisy((3, 4, 5)), normal(6, (3, 4, 5))
    image = exact()

    def loss(alpha):
        return np.sum(w * reference.rof(y, alpha, num_steps=20_000))

    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(lambda a: jnp.sum(w * image(y, a))))(0.6)
    expected = reference.central_difference(loss, 0.6, 1.0, 1e-4)
    np.testing.assert_allclose(slope, expected, rtol=1e-3)


def test_invalid_pixels_have_no_part_in_any_derivative(dtype):
    mask = np.random.default_rng(7).random(SHAPE) < 0.8
    y = np.where(mask, noisy(), np.nan).astype(dtype)

    @jax.jit
    def slopes(y, alpha):
        def loss(y, alpha):
            image = tvjax.solve(y, alpha, mask=mask).image
            return jnp.sum(jnp.where(mask, image, 0) ** 2)

        return jax.grad(loss, argnums=(0, 1))(y, alpha)

    alpha = np.asarray(ALPHA, dtype)
    for strength in (alpha, np.full(SHAPE, alpha)):
        spoiled, clean = slopes(y, strength), slopes(np.where(mask, y, 3), strength)
        for a, b in zip(spoiled, clean, strict=True):
            assert np.isfinite(a).all()
            np.testing.assert_array_equal(a, b)
        assert not np.asarray(spoiled[0])[~mask].any()
        if strength.ndim:
            assert not np.asarray(spoiled[1])[~mask].any()


def test_certificate_is_constant_to_derivatives():
    def certificate(alpha):
        solution = tvjax.solve(noisy(), alpha)
        return solution.gap + solution.rmse + jnp.sum(solution.dual)

    assert jax.jit(jax.grad(certificate))(0.8) == 0


def test_resumed_derivative_is_that_of_a_fresh_solve():
    y = jnp.asarray(noisy((16, 15)), jnp.float32)

    @jax.jit
    def slope(alpha, memory):
        def loss(alpha):
            solution, after = resume(y, alpha, memory)
            return jnp.sum(solution.image**2), after

        return jax.grad(loss, has_aux=True)(alpha)

    fresh, memory = slope(0.8, blank_memory(y))
    again, _ = slope(0.8, memory)
    near, _ = slope(0.7, memory)
    expected, _ = slope(0.7, blank_memory(y))
    # the default accuracy of image and tangent
    np.testing.assert_allclose(again, fresh, rtol=0.02)
    np.testing.assert_allclose(near, expected, rtol=0.02)


@pytest.mark.parametrize("norm", MOSTLY_ISOTROPIC)
def test_slope_at_no_strength_is_the_one_towards_greater_ones(norm, double):
    y, width = noisy(), 1e-7
    image = exact(norm)
    x = jax.jit(image)(y, width)
    expected = (np.asarray(x) - y) / width
    for zero in (0.0, np.zeros(SHAPE)):
        zero = jnp.asarray(zero)
        one = jnp.ones_like(zero)
        slope = jax.jit(lambda a, d: jax.jvp(lambda a: image(y, a), (a,), (d,)))(
            zero, one
        )[1]
        # linear as long as no two regions merge
        np.testing.assert_allclose(slope, expected, atol=1e-5)
        pulled = jax.jit(jax.grad(lambda a: jnp.sum(normal(2) * image(y, a))))(zero)
        np.testing.assert_allclose(np.sum(pulled), np.vdot(normal(2), expected), 1e-5)


def test_equal_neighbors_have_a_finite_slope_at_no_strength():
    y = np.repeat(np.float32([1, 5]), 3)
    slope = jax.jit(jax.jacfwd(lambda a: default(y, a)))(np.float32(0))
    np.testing.assert_array_equal(slope, [0, 0, 1, -1, 0, 0])


def test_derivative_without_convergence_is_nan():
    y = jnp.asarray(noisy((24, 25)), jnp.float32)

    def slopes(strict, of_image=10_000, of_tangent=2000):
        tangent = Accuracy(max_steps=of_tangent, strict=strict)

        def loss(y, alpha):
            x = tvjax.solve(y, alpha, max_steps=of_image, tangent=tangent).image
            return jnp.sum(x**2)

        both = jax.jit(jax.grad(loss, argnums=(0, 1)))(y, jnp.float32(2))
        along = jax.jit(lambda y: jax.jvp(loss, (y, 2.0), (y, 1.0))[1])(y)
        return jax.tree.leaves((both, along))

    for options in ({"of_image": 10}, {"of_tangent": 10}):
        for slope in slopes(True, **options):
            assert np.isnan(slope).all()
        for slope in slopes(False, **options):
            assert np.isfinite(slope).all()
    for slope in slopes(True):
        assert np.isfinite(slope).all()


@pytest.mark.slow
def test_unit_of_the_data_does_not_matter_to_a_derivative():
    y, w = jnp.asarray(noisy(), jnp.float32), jnp.asarray(normal(2), jnp.float32)
    alpha_map = jnp.full(SHAPE, ALPHA, jnp.float32)

    @jax.jit
    def slopes(y, alpha, weight):
        def loss(y, alpha):
            return jnp.sum(weight * default(y, alpha))

        forward = jax.jvp(loss, (y, alpha), (y, alpha))[1]
        return *jax.grad(loss, argnums=(0, 1))(y, alpha), forward

    for alpha in (jnp.float32(ALPHA), alpha_map):
        expected = slopes(y, alpha, w)
        # powers of two: the same digits
        for power in (-100, 100):
            unit = np.ldexp(np.float32(1), power)
            in_data, in_strength, forward = slopes(unit * y, unit * alpha, w)
            np.testing.assert_array_equal(in_data, expected[0])
            np.testing.assert_array_equal(in_strength, expected[1])
            np.testing.assert_array_equal(forward, unit * expected[2])
            # and of the loss, whose least digits leave the range
            in_data, in_strength, forward = slopes(unit * y, unit * alpha, w / unit)
            found = unit * in_data, unit * in_strength, forward
            for a, b in zip(found, expected, strict=True):
                np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


def test_slope_beyond_all_structure_is_none():
    for alpha in (1e4, np.inf):
        with jax.enable_x64(True):
            slope = jax.jit(
                jax.grad(lambda a: jnp.sum(normal(2) * exact()(noisy(), a)))
            )(alpha)
        np.testing.assert_allclose(slope, 0, atol=1e-6)


def test_no_strength_has_the_identity_for_a_jacobian():
    y, v = noisy().astype(np.float32), normal(1).astype(np.float32)
    _, moved = jax.jit(
        lambda y, zero, v: jax.jvp(lambda y: default(y, zero), (y,), (v,))
    )(y, np.float32(0), v)
    np.testing.assert_allclose(moved, v, atol=1e-3 * np.linalg.norm(v))
