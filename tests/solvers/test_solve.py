from functools import partial

import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests import reference
from tvjax.solvers import blank_memory, resume, solve

SOLVERS = ["pdhg", "fgp", "chambolle"]
NORMS = ["isotropic", "anisotropic"]


def noisy(shape, seed=0, scale=5.0):
    """A photograph's kinds of regions under noise of one unit."""
    height, width = shape[-2:]
    truth = scale * reference.scene(height, width)
    return truth + np.random.default_rng(seed).normal(size=shape)


def exactness(dtype):
    """Relative gaps that every solver reaches in a precision."""
    return 1e-4 if dtype == np.float32 else 1e-12


def distance(a, b):
    return np.linalg.norm(np.asarray(a, np.float64) - b)


def certified(solution):
    """The greatest distance to the exact solution, all valid pixels together."""
    num_valid = np.isfinite(solution.image).sum()
    return float(solution.rmse) * num_valid**0.5


IMAGE = noisy((12, 10))


@pytest.fixture(scope="module")
def exact():
    """Reference solutions, each computed once."""
    known = {}

    def of(alpha, norm="isotropic"):
        if (alpha, norm) not in known:
            known[alpha, norm] = reference.rof(IMAGE, alpha, norm=norm)
        return known[alpha, norm]

    return of


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_all_solvers_reach_the_reference_within_their_certificate(
    solver, norm, dtype, exact
):
    y = IMAGE.astype(dtype)
    tol = 1e-4 if solver == "chambolle" else exactness(dtype)
    for alpha in (0.3, 1.0, 3.0):
        solution = solve(y, alpha, tol=tol, norm=norm, solver=solver)
        assert solution.image.dtype == dtype
        assert solution.converged and solution.relative_gap <= tol
        # but for the rounding of each pixel
        rounding = np.finfo(dtype).eps * np.linalg.norm(IMAGE) * 4
        bound = certified(solution)
        assert distance(solution.image, exact(alpha, norm)) <= bound + rounding
        # √G where the image is the one of the dual field, at most √2 times as much
        over = bound / np.sqrt(float(solution.gap))
        assert 1 - 1e-5 <= over <= (2**0.5 if solver == "pdhg" else 1) + 1e-5


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_certificate_holds_at_any_number_of_steps(solver, norm, exact):
    with jax.enable_x64(True):
        for max_steps in (1, 3, 10, 30, 100):
            solution = solve(
                IMAGE,
                1.0,
                tol=0.0,
                norm=norm,
                solver=solver,
                max_steps=max_steps,
                steps_per_check=1,
            )
            assert solution.num_steps == max_steps and not solution.converged
            lengths = np.asarray(solution.dual)
            lengths = (
                np.abs(lengths).max()
                if norm == "anisotropic"
                else reference.pixel_norm(lengths).max()
            )
            assert lengths <= 1 + 1e-12
            assert solution.gap >= 0
            assert distance(solution.image, exact(1.0, norm)) <= certified(solution)
            # the two bounds say the same, but for rounding
            assert certified(solution) ** 2 <= 2 * solution.gap * (1 + 1e-12)


@pytest.mark.parametrize("norm", NORMS)
def test_gap_is_primal_minus_dual_of_a_feasible_pair(norm):
    # of the solver whose image is the one of its dual field
    with jax.enable_x64(True):
        solution = solve(IMAGE, 1.0, tol=1e-2, norm=norm, solver="fgp")
    x, p = np.asarray(solution.image), np.asarray(solution.dual)
    matrix = reference.difference_matrix(x.shape)
    pull = np.einsum("kij,ki->j", matrix, p.reshape(2, -1)).reshape(x.shape)
    np.testing.assert_allclose(x, IMAGE + pull, atol=1e-12)
    primal = reference.objective(x, IMAGE, 1.0, norm=norm)
    dual = (np.sum(IMAGE**2) - np.sum(x**2)) / 2
    # both are near 150, and their difference near 1
    np.testing.assert_allclose(solution.gap, primal - dual, rtol=1e-9)
    np.testing.assert_allclose(solution.relative_gap, (primal - dual) / primal)


@pytest.mark.parametrize(
    ("shape", "norm", "axes"),
    [
        ((9,), "isotropic", (0,)),
        ((9, 4), "isotropic", (0, 1)),
        ((9, 4), "anisotropic", (0, 1)),
        ((9, 3, 2), "isotropic", (1, 2)),
    ],
)
def test_step_edge_shrinks_by_alpha_over_length(shape, norm, axes, dtype):
    for axis in axes:
        step = np.where(np.arange(9) < 3, 1.0, 4.0)
        step = step.reshape((9,) + (1,) * (len(shape) - 1))
        y = np.moveaxis(np.broadcast_to(step, shape), 0, axis).astype(dtype)
        x = solve(y, 0.6, tol=exactness(dtype), norm=norm).image
        expected = np.where(y < 2, 1 + 0.6 / 3, 4 - 0.6 / 6)
        # the certificate, with an objective below 2 a line
        atol = np.sqrt(exactness(dtype) * 2 * y.size / 9)
        np.testing.assert_allclose(x, expected, atol=atol)


def test_single_pixel_loses_its_perimeter_times_alpha(dtype):
    y = np.zeros((15, 15), dtype)
    y[7, 8] = 20
    alpha, perimeter = 1.5, 2 + np.sqrt(2)
    x = np.asarray(solve(y, alpha, tol=exactness(dtype)).image)
    lost = alpha * perimeter
    expected = np.full_like(y, lost / (y.size - 1))
    expected[7, 8] = 20 - lost
    # the certificate of an objective near 90
    atol = np.sqrt(exactness(dtype) * 90)
    np.testing.assert_allclose(x, expected, atol=atol)


@pytest.mark.parametrize("norm", NORMS)
def test_no_region_loses_more_than_alpha_times_its_perimeter(norm, dtype):
    y, alpha = noisy((16, 17)).astype(dtype), 0.8
    rng = np.random.default_rng(1)
    for max_steps in (5, 500):  # holds for any feasible dual field
        x = solve(y, alpha, norm=norm, max_steps=max_steps, steps_per_check=5).image
        for _ in range(30):
            region = rng.random(y.shape) < rng.random()
            perimeter = np.sum(region[1:] != region[:-1])
            perimeter += np.sum(region[:, 1:] != region[:, :-1])
            lost = np.sum((y - np.asarray(x))[region], dtype=np.float64)
            assert abs(lost) <= alpha * perimeter * (1 + 1e-5)


@pytest.mark.parametrize("solver", SOLVERS)
def test_mean_is_kept_at_any_number_of_steps(solver, dtype):
    y = noisy((16, 17)).astype(dtype)
    for max_steps in (10, 200):
        x = solve(y, 2.0, solver=solver, max_steps=max_steps).image
        # the sum of as many roundings as there are pixels
        atol = np.finfo(dtype).eps * np.abs(y).max()
        mean = np.asarray(x).mean(dtype=np.float64)
        np.testing.assert_allclose(mean, y.mean(dtype=np.float64), atol=atol)


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_strength_is_the_identity(solver, dtype):
    y = IMAGE.astype(dtype)
    solution = solve(y, 0.0, solver=solver)
    np.testing.assert_array_equal(solution.image, y)
    assert solution.converged and solution.gap == 0
    np.testing.assert_array_equal(solution.dual, 0)
    # every pixel moves by at most 4 α
    x = solve(y, 1e-3, solver=solver).image
    np.testing.assert_allclose(x, y, atol=4.1e-3)


def test_line_is_constant_from_alpha_max_on_and_not_before(dtype):
    y = np.random.default_rng(2).normal(size=30).astype(dtype)
    mean = y.mean(dtype=np.float64)
    alpha_max = np.abs(np.cumsum(y - mean)).max()
    tol = exactness(dtype)
    bound = np.sqrt(tol * np.sum((y - mean) ** 2) / 2)
    x = solve(y, 1.001 * alpha_max, tol=tol).image
    assert distance(x, mean) <= 2**0.5 * bound
    x = solve(y, 0.7 * alpha_max, tol=tol).image
    # some region of at most 29 pixels stays 0.3 α_max / 29 off the mean
    assert np.abs(np.asarray(x) - mean).max() > 0.3 * alpha_max / 29 - bound


@pytest.mark.parametrize("solver", SOLVERS)
def test_image_is_the_mean_for_a_strength_beyond_all_structure(solver, dtype):
    y = IMAGE.astype(dtype)
    for alpha in (10.0, 1e6, np.inf):
        solution = solve(y, alpha, solver=solver, max_steps=2000)
        assert solution.converged
        # the rounding of values near three
        assert distance(solution.image, y.mean()) <= certified(solution) + 1e-5


@pytest.mark.parametrize("solver", SOLVERS)
def test_unit_and_origin_of_the_data_do_not_matter(solver, dtype):
    y, tol = IMAGE.astype(dtype), 1e-4
    factor, offset = 7.0, 30.0
    base = solve(y, 0.8, tol=tol, solver=solver)
    moved = solve(factor * y + offset, factor * 0.8, tol=tol, solver=solver)
    expected = factor * np.asarray(base.image) + offset
    np.testing.assert_allclose(moved.gap, factor**2 * base.gap, rtol=0.05)
    # float32: the roundings of a few tens of steps on values of 60
    atol = 2e-3 if dtype == np.float32 else 1e-9
    np.testing.assert_allclose(moved.image, expected, atol=atol)


@pytest.mark.parametrize("solver", SOLVERS[:2])
def test_a_pedestal_costs_single_precision_nothing(solver):
    noise = np.random.default_rng(0).normal(size=(64, 64)).astype(np.float32)
    for alpha in (0.5, 3.0):
        plain = solve(noise, alpha, solver=solver)
        raised = solve(noise + np.float32(1000), alpha, solver=solver)
        assert plain.converged and raised.converged
        assert raised.num_steps <= 1.1 * plain.num_steps
        # a float near 1000 has steps of 6e-5
        np.testing.assert_allclose(raised.image - 1000, plain.image, atol=0.02)


@pytest.mark.parametrize("shape", [(8, 7), (4, 5, 6)])
@pytest.mark.parametrize("norm", NORMS)
def test_what_is_removed_is_the_projection_on_the_dual_ball(shape, norm):
    # Moreau: y − x is the nearest to y among the divergences of fields |p| ≤ α
    y, alpha = noisy(shape), 0.9
    with jax.enable_x64(True):
        solution = solve(y, alpha, tol=1e-10, norm=norm)
    x, gap = np.asarray(solution.image), float(solution.gap)
    removed = y - x
    rng = np.random.default_rng(0)
    matrix = reference.difference_matrix(shape)
    for _ in range(20):
        p = rng.normal(size=(len(shape), y.size))
        if norm == "anisotropic":
            p = np.clip(p, -1, 1)
        else:
            p = p / np.maximum(reference.pixel_norm(p), 1)
        other = -alpha * np.einsum("kij,ki->j", matrix, p).reshape(shape)
        assert np.sum((y - removed) * (other - removed)) <= gap + 1e-9
        z = rng.normal(size=shape)
        bound = alpha * reference.total_variation(z, norm=norm)
        assert np.sum(removed * z) <= bound + 1e-9


def test_two_images_never_move_apart(dtype):
    for seed in range(4):
        a = noisy((12, 10), seed).astype(dtype)
        b = noisy((12, 10), seed + 10, scale=3.0).astype(dtype)
        first, second = solve(a, 1.0), solve(b, 1.0)
        slack = certified(first) + certified(second)
        after = np.asarray(first.image - second.image, np.float64)
        before = np.asarray(a - b, np.float64)
        assert np.linalg.norm(after) <= np.linalg.norm(before) + slack
        # firmly: ‖Δy‖² ≤ ⟨Δy, Δx⟩
        inner = np.sum(after * before)
        assert np.sum(after**2) <= inner + slack * 2 * np.linalg.norm(before)


@pytest.mark.parametrize("norm", NORMS)
def test_strength_per_pixel_agrees_with_the_reference(norm):
    alpha = np.random.default_rng(3).uniform(0, 2, IMAGE.shape)
    alpha[2:4, 3:6] = 0  # protected pixels
    expected = reference.rof(IMAGE, alpha, norm=norm)
    with jax.enable_x64(True):
        for solver in SOLVERS:
            tol = 1e-5 if solver == "chambolle" else 1e-11
            solution = solve(IMAGE, alpha, tol=tol, norm=norm, solver=solver)
            bound = certified(solution) + 1e-8
            assert solution.converged
            assert distance(solution.image, expected) <= bound


@pytest.mark.parametrize("solver", SOLVERS)
def test_one_strength_for_all_pixels_may_be_a_map(solver, dtype):
    y = IMAGE.astype(dtype)
    one = solve(y, 0.7, solver=solver)
    each = solve(y, np.full(y.shape, 0.7, dtype), solver=solver)
    bound = certified(one) + certified(each)
    assert distance(each.image, np.asarray(one.image)) <= bound
    assert each.num_steps == one.num_steps


@pytest.mark.parametrize("solver", SOLVERS)
def test_volume_agrees_with_the_reference(solver, dtype):
    y = noisy((4, 5, 6)).astype(dtype)
    expected = reference.rof(y, 0.8, num_steps=30_000)
    tol = 1e-4 if dtype == np.float32 or solver == "chambolle" else 1e-6
    solution = solve(y, 0.8, tol=tol, solver=solver)
    assert solution.converged and solution.dual.shape == (3, *y.shape)
    bound = certified(solution) + 1e-6 * np.linalg.norm(y)
    assert distance(solution.image, expected) <= bound


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("solver", SOLVERS)
def test_a_masked_column_decouples_the_two_halves(solver, norm):
    y = noisy((11, 9))
    mask = np.ones(y.shape, bool)
    mask[:, 4] = False
    y[:, 4] = np.nan
    tol = 1e-4 if solver == "chambolle" else 1e-10
    with jax.enable_x64(True):
        run = partial(solve, tol=tol, norm=norm, solver=solver)
        whole = run(y, 1.0, mask=mask)
        halves = [np.s_[:, :4], np.s_[:, 5:]]
        parts = [run(y[half], 1.0) for half in halves]
    assert whole.converged
    image = np.asarray(whole.image)
    assert np.isnan(image[:, 4]).all()
    assert not np.asarray(whole.dual)[:, :, 4].any()
    assert not np.asarray(whole.dual)[1, :, 3].any()
    for half, part in zip(halves, parts, strict=True):
        bound = certified(whole) + certified(part) + 1e-9
        assert distance(image[half], np.asarray(part.image)) <= bound
        # the mean of each half by itself is kept
        np.testing.assert_allclose(image[half].mean(), y[half].mean())


@pytest.mark.parametrize("norm", NORMS)
def test_scattered_invalid_pixels_agree_with_the_reference(norm, dtype):
    mask = np.random.default_rng(4).random(IMAGE.shape) < 0.75
    y = np.where(mask, IMAGE, np.nan).astype(dtype)
    expected = reference.rof(IMAGE, 0.9, mask=mask, norm=norm)
    solution = solve(y, 0.9, mask=mask, tol=exactness(dtype), norm=norm)
    bound = certified(solution) + 1e-5
    assert distance(solution.image[mask], expected[mask]) <= bound


def random_problems(number, shape=(8, 9)):
    """Noise, few counts, steps on pedestals and outliers, weak to strong."""
    rng = np.random.default_rng(7)
    kind = np.arange(number)[:, None, None] % 4
    noise = rng.normal(size=(number, *shape))
    counts = rng.poisson(0.3, size=(number, *shape))
    steps = (
        20 * reference.scene(*shape)
        + noise
        + 10.0 ** rng.integers(0, 4, (number, 1, 1))
    )
    outliers = noise + 1e4 * (rng.random((number, *shape)) < 0.02)
    y = np.choose(kind, [noise, counts, steps, outliers])
    return y.astype(np.float32), (10 ** rng.uniform(-3, 2, number)).astype(np.float32)


def test_a_thousand_problems_are_certified_or_refused_in_any_unit():
    y, alpha = random_problems(1000)
    run = jax.jit(jax.vmap(solve))
    found = jax.tree.map(np.asarray, run(y, alpha))
    with jax.enable_x64(True):
        exact = jax.jit(jax.vmap(partial(solve, tol=1e-9)))(
            y.astype(np.float64), alpha.astype(np.float64)
        )
        exact = jax.tree.map(np.asarray, exact)
        off = found.image - exact.image
    distance = np.sqrt(np.mean(off**2, axis=(1, 2)))
    # a certificate of zero is exact to the rounding of the greatest value
    rounding = 2 * np.finfo(np.float32).eps * np.abs(y).max((1, 2))
    assert np.all(distance <= found.rmse + exact.rmse + rounding)
    # which says something: nearly all of the exact ones are exact
    assert np.mean(exact.rmse <= 0.01 * found.rmse + rounding) > 0.95
    assert found.converged.mean() > 0.99
    np.testing.assert_array_equal(found.converged, found.relative_gap <= 1e-4)

    # 1e-30 to 1e30; a power of two, so that the same digits must come back
    power = np.random.default_rng(8).integers(-100, 101, 1000)
    moved = jax.tree.map(
        np.asarray, run(np.ldexp(y, power[:, None, None]), np.ldexp(alpha, power))
    )
    back = np.ldexp(moved.image, -power[:, None, None])
    np.testing.assert_array_equal(back, found.image)
    np.testing.assert_array_equal(np.ldexp(moved.rmse, -power), found.rmse)
    for name in ("dual", "relative_gap", "num_steps", "converged"):
        np.testing.assert_array_equal(getattr(moved, name), getattr(found, name))


def test_an_outlier_costs_the_others_no_precision():
    noise = np.random.default_rng(9).normal(100, 1, (32, 33)).astype(np.float32)
    mask = np.ones(noise.shape, bool)
    mask[5, 6] = False
    # what lies behind a wall of invalid pixels has no part in the solution
    mask[4:7, 5:8] = False
    alone = solve(noise, 1.0, mask=mask, tol=1e-5)
    mask[5, 6] = True
    hot = noise.copy()
    hot[5, 6] = 4e9
    solution = solve(hot, 1.0, mask=mask, tol=1e-5)
    assert solution.num_steps == alone.num_steps
    mask[5, 6] = False
    off = np.asarray(solution.image - alone.image)[mask]
    np.testing.assert_allclose(off, 0, atol=1e-4)


@pytest.mark.parametrize("brightness", [1e3, 1e5, 1e7, 4e9])
def test_a_hot_pixel_takes_no_truth_from_the_certificate(brightness):
    y = np.random.default_rng(10).poisson(1.0, (32, 33)).astype(np.float32)
    y[5, 6] = brightness
    others = y < 100
    with jax.enable_x64(True):
        exact = solve(y.astype(np.float64), 1.0, tol=1e-13, max_steps=20_000)
        expected = np.asarray(exact.image)
    for options in ({}, {"tol": 0.0, "rmse": 0.02}):
        solution = solve(y, 1.0, max_steps=2000, **options)
        assert solution.converged
        bound = certified(solution) + certified(exact)
        assert distance(solution.image[others], expected[others]) <= bound
        # the rounding of the pixel itself
        step = np.spacing(np.float32(brightness))
        np.testing.assert_allclose(
            solution.image[5, 6], expected[5, 6], atol=bound + step
        )


def test_a_strength_beyond_all_structure_is_the_mean_of_each_region():
    y = noisy((11, 9))
    mask = np.ones(y.shape, bool)
    mask[:, 4] = False
    with jax.enable_x64(True):
        for alpha in (1e3, np.inf):
            x = np.asarray(solve(y, alpha, mask=mask, tol=1e-9).image)
            for half in (np.s_[:, :4], np.s_[:, 5:]):
                np.testing.assert_allclose(x[half], y[half].mean(), atol=1e-3)


@pytest.mark.parametrize("solver", SOLVERS)
def test_what_cannot_be_solved_is_nan_and_takes_no_step(solver):
    run = jax.jit(partial(solve, solver=solver))
    broken = IMAGE.astype(np.float32)
    broken[3, 4] = np.nan
    uneven = np.where(np.eye(12, 10, dtype=bool), -1, 1).astype(np.float32)
    for y, alpha in ((IMAGE, -1.0), (IMAGE, np.nan), (IMAGE, uneven), (broken, 1.0)):
        solution = run(y, alpha)
        assert np.isnan(solution.image).all() and not solution.converged
        assert np.isnan(solution.rmse) and np.isnan(solution.relative_gap)
        assert solution.num_steps == 0


@pytest.mark.parametrize("contrast", [10.0, 40.0])
def test_single_precision_does_not_stall_on_a_smooth_disc(contrast):
    # at a strength of many times the noise, where the gap of y + div q alone stalls
    row, column = np.mgrid[:256, :256]
    disc = (row - 128) ** 2 + (column - 128) ** 2 < 64**2
    y = contrast * disc + np.random.default_rng(0).normal(size=disc.shape)
    solution = solve(y.astype(np.float32), 5.0, max_steps=2000)
    assert solution.converged and solution.relative_gap <= 1e-4


def test_an_image_without_valid_pixels_comes_back_as_it_is():
    y = np.where(np.eye(4, dtype=bool), np.nan, 3.0).astype(np.float32)
    solution = solve(y, 1.0, mask=np.zeros(y.shape, bool))
    np.testing.assert_array_equal(solution.image, y)
    np.testing.assert_array_equal(solution.dual, 0)


@pytest.mark.parametrize("solver", SOLVERS)
def test_certified_error_stops_in_the_unit_of_the_data(solver):
    solution = solve(IMAGE, 1.0, tol=0.0, rmse=0.05, solver=solver)
    assert solution.converged and solution.rmse <= 0.05
    # it stopped as soon as that was known
    before = int(solution.num_steps) - 10
    if before:
        short = solve(IMAGE, 1.0, tol=0.0, solver=solver, max_steps=before)
        assert short.rmse > 0.05


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_solved_problem_is_solved_at_once(solver, dtype):
    y = IMAGE.astype(dtype)
    first = solve(y, 1.0, solver=solver, tol=1e-4)
    again = solve(y, 1.0, solver=solver, tol=1e-4, dual=first.dual)
    # the primal-dual iteration starts with another image than it ended with
    assert again.num_steps <= (20 if solver == "pdhg" else 10) < first.num_steps
    bound = certified(first) + certified(again)
    assert distance(again.image, np.asarray(first.image)) <= bound + 1e-5


def test_warm_start_at_a_near_strength_needs_fewer_steps():
    near = solve(IMAGE, 1.0, tol=1e-5)
    cold = solve(IMAGE, 1.03, tol=1e-5)
    warm = solve(IMAGE, 1.03, tol=1e-5, dual=near.dual)
    assert warm.num_steps < cold.num_steps


def test_resume_goes_on_where_it_ended():
    first, memory = resume(IMAGE, 1.0, blank_memory(jnp.asarray(IMAGE)), tol=1e-4)
    cold = solve(IMAGE, 1.0)
    np.testing.assert_allclose(first.image, cold.image, atol=1e-5)
    assert first.num_steps == cold.num_steps
    again, _ = resume(IMAGE, 1.0, memory, tol=1e-4)
    assert again.num_steps <= 20 < first.num_steps


def test_each_item_of_a_batch_stops_on_its_own():
    batch = np.stack([IMAGE, noisy((12, 10), 1), np.full((12, 10), 4.0)])
    alphas = np.asarray([3.0, 0.2, 1.0])
    together = jax.vmap(solve)(batch.astype(np.float32), alphas.astype(np.float32))
    for i, (y, alpha) in enumerate(zip(batch, alphas, strict=True)):
        alone = solve(y.astype(np.float32), np.float32(alpha))
        assert together.num_steps[i] == alone.num_steps
        # a batch is fused in another order, and roundings of 3e-7 add up
        np.testing.assert_allclose(together.image[i], alone.image, atol=2e-4)
    assert len(set(np.asarray(together.num_steps).tolist())) == 3


def test_single_precision_follows_double_precision():
    y = noisy((24, 25))
    single = solve(y.astype(np.float32), 1.0)
    with jax.enable_x64(True):
        double = solve(y, 1.0)
        assert double.image.dtype == np.float64
    # the same steps, but for the roundings
    assert single.num_steps == double.num_steps
    np.testing.assert_allclose(single.image, np.asarray(double.image), atol=1e-3)


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.uint32, bool])
def test_integers_are_taken_by_value(kind):
    y = np.random.default_rng(5).integers(0, 2, (6, 7)).astype(kind)
    solution = solve(y, 0.2)
    assert solution.image.dtype == np.float32
    expected = solve(y.astype(np.float32), 0.2).image
    np.testing.assert_array_equal(solution.image, expected)


@pytest.mark.parametrize("kind", [jnp.float16, jnp.bfloat16])
def test_half_precision_is_solved_in_single(kind):
    y = jnp.asarray(IMAGE, kind)
    assert solve(y, 0.5).image.dtype == jnp.float32


@pytest.mark.parametrize("shape", [(1,), (1, 1), (1, 5), (5, 1), (1, 1, 1)])
@pytest.mark.parametrize("solver", SOLVERS)
def test_images_one_pixel_wide_are_solved(shape, solver):
    y = np.arange(np.prod(shape), dtype=np.float32).reshape(shape) + 3
    solution = solve(y, 0.5, solver=solver)
    assert solution.converged
    bound = certified(solution) + 1e-5
    assert distance(solution.image, reference.rof(y, 0.5)) <= bound


@pytest.mark.parametrize(
    ("y", "alpha", "options", "sentence"),
    [
        (IMAGE, -1.0, {}, "`alpha` must not be negative, got -1.0"),
        (IMAGE, np.nan, {}, "`alpha`"),
        (IMAGE, np.ones(3), {}, "`alpha` must be a scalar or have the image's shape"),
        (
            IMAGE,
            1.0,
            {"mask": np.ones(3, bool)},
            r"`mask` must have the shape \(12, 10\), got \(3,\)",
        ),
        (
            IMAGE,
            1.0,
            {"dual": jnp.ones((2, 3))},
            r"`dual` must have the shape \(2, 12, 10\), got",
        ),
        (IMAGE, 1.0, {"norm": "l2"}, "`norm` must be one of .* got 'l2'"),
        (IMAGE, 1.0, {"solver": "adam"}, "`solver` must be one of .* got 'adam'"),
        (np.ones((0, 3)), 1.0, {}, r"`y` must be a non-empty image, got shape \(0, 3"),
        (np.float32(1), 1.0, {}, "`y` must be a non-empty image"),
        (IMAGE + 1j, 1.0, {}, "`y` must be real, got complex"),
        (
            np.where(IMAGE > 4, np.nan, IMAGE),
            1.0,
            {},
            "valid pixels of `y` are NaN or infinite; mark them invalid",
        ),
    ],
)
def test_static_mistakes_are_named(y, alpha, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        solve(y, alpha, **options)
