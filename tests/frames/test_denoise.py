import json
from functools import partial

import jax
import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tests import reference
from tvjax.frames.denoise import _solve_frames
from tvjax.noise import Correlated, Gaussian, Poisson
from tvjax.simulate import diffraction_image

SHAPE = (96, 96)
TRUTH = 200 * reference.scene(*SHAPE)


def noisy(sigma=20.0, seed=0, shape=SHAPE):
    return TRUTH + sigma * np.random.default_rng(seed).normal(size=shape)


@pytest.fixture(scope="module")
def chosen():
    return tvjax.denoise(noisy().astype(np.float32), noise=Gaussian(20.0))


@partial(jax.jit, static_argnames="batch_size")
def errors(y, truth, alphas, batch_size=4):
    """Mean squared error at each strength."""

    def error(alpha):
        return jnp.mean((tvjax.solve(y, alpha, tol=1e-4).image - truth) ** 2)

    return jax.lax.map(error, alphas, batch_size=batch_size)


@pytest.mark.parametrize("sigma", [8.0, 20.0])
def test_chosen_strength_is_within_two_percent_of_the_best(sigma):
    y = noisy(sigma, seed=1).astype(np.float32)
    result = tvjax.denoise(y, noise=Gaussian(sigma))
    assert result.converged and not result.at_bound
    alphas = jnp.geomspace(0.1, 2.0, 24) * sigma
    best = errors(y, TRUTH.astype(np.float32), alphas).min()
    assert np.mean((result.image - TRUTH) ** 2) < 1.02 * best


def test_estimated_noise_serves_as_well():
    y = noisy(20.0, seed=2).astype(np.float32)
    result = tvjax.denoise(y)
    np.testing.assert_allclose(result.noise.sigma, 20, rtol=0.1)
    alphas = jnp.geomspace(0.1, 2.0, 24) * 20
    best = errors(y, TRUTH.astype(np.float32), alphas).min()
    assert np.mean((result.image - TRUTH) ** 2) < 1.03 * best


def test_counts_are_denoised_as_counts():
    counts, truth = diffraction_image((128, 128), num_spots=10)
    result = tvjax.denoise(counts)
    assert isinstance(result.noise, Poisson) and result.noise.gain == 1
    assert result.image.dtype == np.float32
    # the total is kept, in counts
    np.testing.assert_allclose(result.image.sum(), counts.sum(), rtol=1e-4)
    # no rescaling: the same values as floating point give the same image
    same = tvjax.denoise(counts.astype(np.float32), noise=Poisson())
    np.testing.assert_array_equal(same.image, result.image)
    raw = np.mean((counts.astype(float) - truth) ** 2)
    alphas = jnp.geomspace(0.05, 4.0, 24)
    best = errors(jnp.asarray(counts, jnp.float32), truth, alphas).min()
    # a hundred pixels of spots decide: their own chance is some percent
    assert np.mean((result.image - truth) ** 2) < best + 0.1 * (raw - best)


def test_image_is_the_solution_at_the_chosen_strength(chosen):
    y = noisy().astype(np.float32)
    expected = tvjax.solve(y, float(chosen.alpha), tol=1e-4)
    distance = np.linalg.norm(chosen.image - expected.image)
    # both are certified: √gap each
    assert distance <= 2 * np.sqrt(float(expected.gap)) + 0.1
    np.testing.assert_allclose(chosen.relative_gap, expected.relative_gap, rtol=0.2)


def test_numpy_in_numpy_out_and_jax_in_jax_out(chosen):
    assert type(chosen.image) is np.ndarray and chosen.image.dtype == np.float32
    y = jnp.asarray(noisy(), jnp.float32)
    result = tvjax.denoise(y, alpha=10.0)
    assert isinstance(result.image, jax.Array)
    same = tvjax.denoise(np.asarray(y), alpha=10.0)
    np.testing.assert_array_equal(result.image, same.image)


def test_result_is_the_same_in_every_call(chosen):
    again = tvjax.denoise(noisy().astype(np.float32), noise=Gaussian(20.0))
    np.testing.assert_array_equal(again.image, chosen.image)
    assert again.alpha == chosen.alpha


def test_result_cannot_be_changed(chosen):
    with pytest.raises(AttributeError):
        chosen.alpha = 3.0


def test_report_and_dict_tell_the_same(chosen):
    told = json.loads(json.dumps(chosen.asdict()))
    np.testing.assert_allclose(told["alpha"], chosen.alpha)
    assert told["noise"]["model"] == "Gaussian" and told["noise"]["sigma"] == 20
    assert told["converged"] is True and told["at_bound"] is False
    assert len(told["curve"]["alphas"]) == len(told["curve"]["risks"]) > 1
    text = chosen.report()
    assert f"{told['alpha']:.4g} ± " in text and "sigma 20" in text
    assert "WARNING" not in text


def test_given_strength_is_used_and_said_so():
    result = tvjax.denoise(noisy().astype(np.float32), alpha=5.0)
    assert result.alpha == 5 and result.risk is None and result.curve is None
    assert result.noise is None and result.asdict()["noise"] is None
    assert "5 (given)" in result.report() and "noise" not in result.report()
    same = tvjax.denoise(noisy().astype(np.float32), alpha=0.0).image
    np.testing.assert_array_equal(same, noisy().astype(np.float32))


def test_what_did_not_converge_is_said_so():
    y = noisy().astype(np.float32)
    result = tvjax.denoise(y, alpha=50.0, max_steps=10, tol=1e-6)
    assert not result.converged and "not converged" in result.report()


def test_invalid_pixels_come_back_and_take_no_part():
    mask = np.random.default_rng(3).random(SHAPE) < 0.9
    mask[40:50] = False
    y = noisy().astype(np.float32)
    results = [
        tvjax.denoise(np.where(mask, y, junk), noise=Gaussian(20.0), mask=mask)
        for junk in (np.float32(0), np.float32(np.nan))
    ]
    assert results[0].alpha == results[1].alpha
    np.testing.assert_array_equal(results[0].image[mask], results[1].image[mask])
    assert np.isfinite(results[1].image[mask]).all()
    assert np.isnan(results[1].image[~mask]).all()
    assert not results[0].image[~mask].any()


def test_unit_of_the_data_does_not_matter(chosen):
    y = noisy().astype(np.float32)
    scaled = tvjax.denoise(256 * y, noise=Gaussian(256 * 20.0))
    # a power of two changes no digit of the data, and few of the way
    np.testing.assert_allclose(scaled.alpha, 256 * chosen.alpha, rtol=0.02)
    assert abs(scaled.image / 256 - chosen.image).max() < 2


def test_stack_has_one_strength_or_one_a_frame():
    flat = TRUTH.mean() + noisy(seed=5) - TRUTH
    stack = np.stack([noisy(seed=4), flat]).astype(np.float32)
    joint = tvjax.denoise(stack, noise=Gaussian(20.0))
    assert joint.image.shape == stack.shape and joint.alpha.shape == ()
    assert joint.relative_gap.shape == joint.converged.shape == (2,)
    each = tvjax.denoise(stack, noise=Gaussian(20.0), per_frame=True)
    assert each.alpha.shape == each.at_bound.shape == (2,)
    # nothing limits the strength on a flat image; the joint one lies between, up to
    # the chance of another split
    assert each.alpha[0] < each.alpha[1]
    assert 0.9 * each.alpha[0] < joint.alpha < 1.1 * each.alpha[1]
    for frame, alpha in zip(stack, each.alpha, strict=True):
        alone = tvjax.denoise(frame, noise=Gaussian(20.0))
        np.testing.assert_allclose(alpha, alone.alpha, rtol=0.02)
    same = tvjax.denoise(stack, alpha=each.alpha)
    np.testing.assert_array_equal(same.image, each.image)


def test_stack_of_one_keeps_its_axis():
    result = tvjax.denoise(noisy().astype(np.float32)[None], alpha=5.0)
    assert result.image.shape == (1, *SHAPE)
    alone = tvjax.denoise(noisy().astype(np.float32), alpha=5.0)
    np.testing.assert_array_equal(result.image[0], alone.image)


def test_each_frame_may_have_a_mask_of_its_own():
    stack = np.stack([noisy(5.0, 4), noisy(5.0, 5)]).astype(np.float32)
    masks = np.random.default_rng(0).random(stack.shape) < 0.9
    result = tvjax.denoise(np.where(masks, stack, np.nan), alpha=5.0, mask=masks)
    for frame, mask, image in zip(stack, masks, result.image, strict=True):
        alone = tvjax.denoise(np.where(mask, frame, np.nan), alpha=5.0, mask=mask)
        np.testing.assert_array_equal(image, alone.image)


def test_one_strength_compiles_for_all():
    y = noisy().astype(np.float32)
    tvjax.denoise(y, alpha=5.0)
    before = _solve_frames._cache_size()
    for alpha in (1.0, 6.0, np.float32(3)):
        tvjax.denoise(y, alpha=alpha)
    assert _solve_frames._cache_size() == before


IMAGE = np.ones((8, 8))

PAIR = np.ones((2, 8, 8))


@pytest.mark.parametrize(
    ("image", "options", "sentence"),
    [
        (
            np.where(np.eye(8), np.nan, 1),
            {},
            "8 valid pixels of `y` are NaN or infinite; mark",
        ),
        (IMAGE, {"mask": np.zeros((8, 8), bool)}, "`mask` leaves no valid pixel"),
        (
            IMAGE,
            {"mask": np.ones((8, 7), bool)},
            r"`mask` must have the shape \(8, 8\), got \(8, 7\)",
        ),
        (IMAGE, {"alpha": -1.0}, "`alpha` must not be negative, got -1"),
        (IMAGE, {"alpha": np.nan}, "`alpha`"),
        (IMAGE, {"alpha": np.ones(3)}, "`alpha` must be a scalar or one a frame"),
        (IMAGE[:1, :1], {}, r"at least 2 x 2, got shape .*; give the noise model"),
        (IMAGE + 1j, {}, "of real numbers, got shape .* of complex"),
        (IMAGE[0], {}, r"`y` must be an image \(height, width\) or frames"),
        (IMAGE[None, None], {}, "for volumes use `tvjax.solve`"),
        (np.ones((0, 8)), {}, "`y` must be an image"),
        (IMAGE, {"weights": "best", "alpha": 1.0}, "`weights` must be one of"),
        (IMAGE, {"norm": "l2", "alpha": 1.0}, "`norm` must be one of"),
        (IMAGE, {"protect": 1.5}, "`protect` must be .* between 0 and 1, got 1.5"),
        (IMAGE, {"repeats": True}, "`repeats` judge each other and must be two"),
        (PAIR, {"repeats": True, "alpha": 1.0}, "one strength for all.*drop `alpha`"),
        (PAIR, {"repeats": True, "per_frame": True}, "drop `per_frame`"),
    ],
)
def test_misuse_gets_a_sentence(image, options, sentence):
    with pytest.raises(ValueError, match=sentence):
        tvjax.denoise(image, **options)


def test_data_that_jax_traces_are_refused_and_told_where_to_go():
    with pytest.raises(TypeError, match="use `tvjax.solve` or `tvjax.TV`"):
        jax.jit(lambda y: tvjax.denoise(y).image)(jnp.ones((8, 8)))
    with pytest.raises(ValueError, match="`noise` must be a noise model, got float"):
        tvjax.denoise(IMAGE, noise=2.0)


def test_weights_by_the_variance_let_the_dark_decide():
    # spots of three pixels lose much of their height and rule the plain error
    truth = np.full((96, 96), 2.0)
    for row, column in ((0, 0), (0, 1), (1, 0)):
        truth[20 + row : 76 : 8, 20 + column : 76 : 8] += 50
    counts = np.random.default_rng(7).poisson(truth)
    plain, weighted = (
        tvjax.denoise(counts, weights=weights) for weights in ("uniform", "variance")
    )
    assert weighted.alpha > plain.alpha

    def error(image):
        return np.mean(((image - truth) ** 2)[truth < 3])

    assert error(weighted.image) < error(plain.image)


def test_norm_is_that_of_the_solution():
    y = noisy().astype(np.float32)
    for norm in ("isotropic", "anisotropic"):
        found = tvjax.denoise(y, alpha=10.0, norm=norm).image
        expected = tvjax.solve(y, 10.0, norm=norm).image
        np.testing.assert_allclose(found, expected, atol=1e-3)


def test_warnings_say_what_deserves_a_second_look():
    y = noisy().astype(np.float32)
    good = tvjax.denoise(y, alpha=50.0)
    assert good.warnings == () and "WARNING" not in good.report()
    poor = tvjax.denoise(y, alpha=50.0, max_steps=10, tol=1e-6)
    assert poor.warnings == ("not converged: raise `max_steps`",)


@pytest.mark.parametrize("weights", ["uniform", "variance"])
@pytest.mark.parametrize(
    "value", [100, pytest.param(65535, marks=pytest.mark.slow), 4e9]
)
def test_hot_pixels_are_named_and_have_no_part_in_the_strength(weights, value):
    counts = np.random.default_rng(5).poisson(TRUTH / 300, SHAPE).astype(np.float32)
    clean = tvjax.denoise(counts, noise=Poisson(), weights=weights)
    hot = counts.copy()
    hot[30, 40] = hot[60, 7] = value
    found = tvjax.denoise(hot, noise=Poisson(), weights=weights)
    assert found.alpha == pytest.approx(clean.alpha, rel=0.1)
    (text,) = found.warnings
    assert text.startswith("2 pixels, one of them at frame 0, row 30, column 40")
    # they are left as they are, and disturb nothing around
    assert found.image[30, 40] == hot[30, 40]
    elsewhere = np.ones(SHAPE, bool)
    elsewhere[27:34, 37:44] = elsewhere[57:64, 4:11] = False
    assert np.abs(found.image - clean.image)[elsewhere].max() < 1


def test_repeats_choose_each_others_strength_whatever_their_noise():
    noise = Correlated(20.0, np.ones((3, 3)))
    drawn = [noise.draw(jnp.zeros(SHAPE), jax.random.key(k)) for k in range(3)]
    y = (TRUTH + np.stack(drawn)).astype(np.float32)
    found = tvjax.denoise(y, repeats=True)
    np.testing.assert_allclose(found.noise.sigma, 20, rtol=0.05)
    alphas = jnp.geomspace(0.2, 8.0, 24) * 20
    best = errors(y[0], TRUTH.astype(np.float32), alphas).min()
    assert np.mean((found.image[0] - TRUTH) ** 2) < 1.05 * best
    assert found.warnings == ()


def test_a_multiple_for_clear_spots_is_taken_as_it_is():
    counts, _ = diffraction_image((128, 128), background=(0.5, 1.5), num_spots=10)
    chosen, given = (
        tvjax.denoise(counts, alpha=1.0, noise=Poisson(), protect=protect)
        for protect in (True, 0.25)
    )
    assert given.protection == 0.25 and chosen.protection in (0.5, 1.0)
    assert given.kept.any()
    strengths = np.where(given.kept, 0.25, 1.0).astype(np.float32)
    expected = tvjax.solve(counts.astype(np.float32), strengths).image
    np.testing.assert_allclose(given.image, expected, atol=0.01 * counts.max())
    # nothing is a multiple, too, and needs a noise model to find the spots by
    none = tvjax.denoise(counts, alpha=1.0, protect=0.0)
    assert none.protection == 0
    np.testing.assert_array_equal(none.kept, given.kept)
    moved = [np.abs(x.image - counts)[given.kept].mean() for x in (none, given)]
    assert moved[0] < moved[1]
    empty = np.random.default_rng(0).poisson(1.0, (64, 64))
    none = tvjax.denoise(empty, alpha=1.0, noise=Poisson(), protect=True)
    assert none.protection is None and not none.kept.any()


def test_curve_holds_what_the_descent_visited_or_as_many_as_asked(chosen):
    alphas, risks = chosen.curve.alphas, chosen.curve.risks
    assert np.all(np.diff(alphas) > 0) and np.isfinite(risks).all()
    asked = tvjax.denoise(
        noisy().astype(np.float32), noise=Gaussian(20.0), curve_points=5
    )
    np.testing.assert_array_equal(asked.alpha, chosen.alpha)
    expected = chosen.alpha * np.geomspace(0.25, 4, 5)
    np.testing.assert_allclose(asked.curve.alphas, expected, rtol=1e-5)
    assert asked.curve.splits.shape == (3, 5)
    np.testing.assert_allclose(asked.curve.risks, asked.curve.splits.mean(0))
    assert np.argmin(asked.curve.risks) == 2


def test_an_image_of_one_pixel_comes_back():
    result = tvjax.denoise(np.full((1, 1), 7.0), alpha=2.0)
    np.testing.assert_array_equal(result.image, 7)


@pytest.mark.parametrize("value", [0, 5])
def test_an_image_without_noise_comes_back(value):
    for image in (np.full((32, 32), value, np.uint16), np.full((32, 32), float(value))):
        result = tvjax.denoise(image)
        assert np.isfinite(result.alpha)
        np.testing.assert_allclose(result.image, value, atol=1e-5)
