"""Which strength does the data ask for?

The data is dealt out to two independent measurements of the same scene: one to denoise,
one to judge by (`tvjax.risk.splitting`). The error against the second is descended on;
its gradient costs one tangent solve.
"""

from collections.abc import Callable
from functools import partial
from typing import Literal

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers import TV
from tvjax.filters import local_mean
from tvjax.noise import Noise, Poisson
from tvjax.operators import Norm
from tvjax.risk import held_out_error
from tvjax.risk.splitting import couple, draw_noise, thin
from tvjax.solvers import Accuracy, blank_memory, Memory
from tvjax.tuning.descent import path, secant, tune, Tuned
from tvjax.tuning.tiles import cut_tiles, place_tiles, SAMPLE, sample_tiles

# Of the exposure that the strength is chosen on; the rest judges.
FRACTION = 0.9
# A strength further than this from the noise is no denoising, or no image.
RANGE = (1e-3, 1e3)
# Of the last move, whose own error is far smaller: a secant step ends it.
ALPHA_TOLERANCE = 0.06
MAX_MOVES = 10
TUNING_GAP = 1e-3
TUNING_TANGENT = Accuracy(tol=0.05, max_steps=500)

Weights = Literal["uniform", "variance"]


def choose_alpha(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    *,
    mask: Bool[Array, "frame height width"] | None = None,
    per_frame: bool = False,
    weights: Weights = "uniform",
    norm: Norm = "isotropic",
    profile: Float[Array, "frame height width"] | None = None,
    other: Float[Array, "frame height width"] | None = None,
    key: PRNGKeyArray,
) -> Tuned:
    """The strength of least risk, for all frames or for each.

    The descent begins on tiles spread over the frames. It ends there where the tiles
    hold enough pixels, else with a step or two on everything.

    With a profile, the strength in each pixel is its profile times what is chosen; the
    noise is then to have a level of each pixel's own, too.

    With another draw of the noise itself, `other`, that noise need not be white.

    Returns:
        A `Tuned` whose denoiser is a `TV`, with a leading axis where `per_frame`.
    """
    if per_frame:
        none = [None] * len(frames)
        masks = none if mask is None else list(mask)
        profiles = none if profile is None else list(profile)
        others = none if other is None else list(other)
        each = [
            choose_alpha(
                frame[None],
                noise,
                mask=None if valid is None else valid[None],
                weights=weights,
                norm=norm,
                profile=None if shape is None else shape[None],
                other=None if draw is None else draw[None],
                key=key,
            )
            for frame, valid, shape, draw in zip(
                frames, masks, profiles, others, strict=True
            )
        ]
        return jax.tree.map(lambda *leaves: jnp.stack(leaves), *each)

    divide = _divider(frames, noise, mask, weights, key)
    tiles = None if profile is not None else sample_tiles(frames, mask, other, noise)

    def everything() -> _Scene:
        return eqx.tree_at(
            lambda s: s.profile,
            divide(frames, mask, other),
            profile,
            is_leaf=lambda p: p is None,
        )

    scene = None if tiles is None else divide(*tiles)
    return _in_two_stages(scene, everything, norm, FRACTION)


def choose_alpha_between(
    seen: Float[Array, "frame height width"],
    held_out: Float[Array, "frame height width"],
    variance: Float[Array, "frame height width"],
    *,
    fraction: float,
    mask: Bool[Array, "frame height width"] | None = None,
    norm: Norm = "isotropic",
    profile: Float[Array, "frame height width"] | None = None,
) -> Tuned:
    """The strength of least error of one measurement against an independent other.

    Their noise may be anything that is independent between the two: a constant error
    in `variance` moves the risk, but not where it is least.

    Args:
        seen: What is denoised.
        held_out: What judges it.
        variance: Of `held_out`.
        fraction: Share of all the exposure that went to the first; the strength is for
            all of it.
        mask: True where both are valid.
        norm: "isotropic" or "anisotropic".
        profile: What the strength in each pixel is a multiple of; one by default.

    Returns:
        A `Tuned` whose denoiser is a `TV` of the strength without its profile.
    """
    whole = _Scene(seen, held_out, variance, mask, None, profile)
    places = place_tiles(seen, mask)
    scene = None
    if places is not None:
        corners, side = places
        scene = jax.tree.map(lambda z: cut_tiles(z, corners, side), whole)
    return _in_two_stages(scene, lambda: whole, norm, fraction)


def risks_at(
    alphas: Float[Array, " points"],
    frames: Float[Array, "frame height width"],
    noise: Noise,
    *,
    mask: Bool[Array, "frame height width"] | None = None,
    weights: Weights = "uniform",
    norm: Norm = "isotropic",
    key: PRNGKeyArray,
) -> Float[Array, " points"]:
    """The risk that `choose_alpha` descends on, at given strengths, for a picture.

    Its differences are exact on average and steady; its level has the noise of what is
    held out, and may be negative.
    """
    divide = _divider(frames, noise, mask, weights, key)
    scene = divide(*(sample_tiles(frames, mask, None, noise) or (frames, mask, None)))
    return _risks_at(alphas / FRACTION**0.5, _mosaic(scene), norm)


def _in_two_stages(
    tiles: "_Scene | None",
    everything: Callable[[], "_Scene"],
    norm: Norm,
    fraction: float,
) -> Tuned:
    """Descend on tiles, if any, and on everything where those are few."""
    start = TV(1.0, tol=TUNING_GAP, norm=norm, tangent=TUNING_TANGENT)
    if tiles is not None:
        tuned = _descend(_start(start, tiles, fraction), _mosaic(tiles))
        start = tuned.denoiser
    if tiles is None or tiles.seen.size < SAMPLE:
        scene = everything()
        start = _start(start, scene, fraction) if tiles is None else start
        tuned = _descend(start, _mosaic(scene))
    # the noise falls as the root of the exposure, and the strength with it
    return eqx.tree_at(
        lambda t: (t.denoiser.log_alpha, t.path.log_alpha),
        tuned,
        replace_fn=lambda log_alpha: log_alpha + 0.5 * np.log(fraction),
    )


@eqx.filter_jit
def _risks_at(alphas: Array, scene: "_Scene", norm: Norm) -> Array:
    one = jax.tree.map(lambda z: z[0], scene)

    def loss(tv: TV, key: PRNGKeyArray) -> Array:
        del key
        masked = TV(tv.alpha, mask=one.mask, tol=TUNING_GAP, norm=norm)
        f = masked(one.seen)
        return held_out_error(f, one.held_out, one.variance, one.mask, one.weights)

    return path(jax.vmap(TV)(alphas), loss, key=jax.random.key(0))


class _Scene(eqx.Module):
    """Two independent measurements of the same images: to denoise and to judge by."""

    seen: Float[Array, "image height width"]
    held_out: Float[Array, "image height width"]
    variance: Float[Array, "image height width"]  # of `held_out`
    mask: Bool[Array, "image height width"] | None
    weights: Float[Array, "image height width"] | None
    profile: Float[Array, "image height width"] | None = None


def _divide(
    frames: Array,
    mask: Array | None,
    other: Array | None,
    *,
    noise: Noise,
    weights: Weights,
    key: PRNGKeyArray,
    whole_counts: bool,
) -> _Scene:
    """Deal the data out to a scene.

    Not one program: what draws random numbers is compiled once for many shapes.
    """
    y, smooth, weight = _levels(frames, mask, noise, weights)
    if whole_counts:
        seen, held_out = thin(y, noise, key=key, fraction=FRACTION)
        variance = noise.variance(held_out)
    else:
        if other is None:
            other = draw_noise(jnp.broadcast_to(smooth, y.shape), key)
        seen, held_out = couple(y, other, fraction=FRACTION)
        variance = smooth
    return _Scene(seen, held_out, variance / (1 - FRACTION), mask, weight)


@eqx.filter_jit
def _levels(
    frames: Array, mask: Array | None, noise: Noise, weights: Weights
) -> tuple[Array, Array, Array | None]:
    """Data, their variance from around each pixel, and the weight that follows."""
    y = frames if mask is None else jnp.where(mask, frames, 0)
    smooth = jnp.maximum(noise.variance(local_mean(y, mask)), 0)
    weight = None
    if weights == "variance":
        # where no photon fell around a pixel, its variance is that of few, not zero
        floor = 0.05 * jnp.mean(smooth, where=mask)
        weight = 1 / jnp.maximum(smooth, jnp.where(floor > 0, floor, 1))
        weight = weight / jnp.mean(weight, where=mask)
    return y, smooth, weight


@eqx.filter_jit
def _descend(start: TV, scene: _Scene) -> Tuned:
    """Tune one strength on the risk of a scene of one image."""
    one = jax.tree.map(lambda z: z[0], scene)
    start = eqx.tree_at(
        lambda tv: tv.mask, start, one.mask, is_leaf=lambda m: m is None
    )

    def loss(tv: TV, key: PRNGKeyArray, memory: Memory) -> tuple[Array, Memory]:
        del key
        f, memory = _shaped(tv, one).resume(one.seen, memory)
        risk = held_out_error(f, one.held_out, one.variance, one.mask, one.weights)
        return risk, memory

    limits = jnp.log(jnp.asarray(RANGE, one.seen.dtype)) + start.log_alpha
    tuned = tune(
        start,
        loss,
        optimizer=secant(first_step=0.15, max_step=0.7),
        num_steps=MAX_MOVES,
        key=jax.random.key(0),
        memory=blank_memory(one.seen),
        tol=ALPHA_TOLERANCE,
        bounds=(limits[0], limits[1]),
    )
    bare = eqx.tree_at(
        lambda tv: tv.mask, tuned.denoiser, None, is_leaf=lambda m: m is None
    )
    return tuned._replace(denoiser=bare, memory=None)


def _shaped(tv: TV, scene: _Scene) -> TV:
    """The strength as the scene's profile has it."""
    if scene.profile is None:
        return tv
    # an invalid row between tiles has no strength, nor needs one
    profile = jnp.where(scene.profile > 0, scene.profile, 1)
    return eqx.tree_at(lambda t: t.log_alpha, tv, tv.log_alpha + jnp.log(profile))


@eqx.filter_jit
def _mosaic(scene: _Scene) -> _Scene:
    """All images of a scene in one, below each other, apart by an invalid row.

    One image has one certificate, for the sum that the risk is, and no kernel waits
    for the slowest of many.
    """
    images, height, width = scene.seen.shape
    if images == 1:
        return scene
    mask = jnp.ones_like(scene.seen, bool) if scene.mask is None else scene.mask
    apart = eqx.tree_at(lambda s: s.mask, scene, mask, is_leaf=lambda m: m is None)
    return jax.tree.map(
        lambda z: jnp.pad(z, ((0, 0), (0, 1), (0, 0))).reshape(1, -1, width), apart
    )


@eqx.filter_jit
def _start(tv: TV, scene: _Scene, fraction: float) -> TV:
    """Begin at 0.8 times the root of the mean variance, as the weights see it."""
    weights = 1 if scene.weights is None else scene.weights
    held_out = jnp.mean(weights * scene.variance, where=scene.mask)
    variance = jnp.maximum((1 - fraction) * held_out, jnp.finfo(held_out.dtype).tiny)
    return eqx.tree_at(lambda tv: tv.log_alpha, tv, jnp.log(0.8 * jnp.sqrt(variance)))


def _divider(
    frames: Array,
    noise: Noise,
    mask: Array | None,
    weights: Weights,
    key: PRNGKeyArray,
) -> Callable[[Array, Array | None, Array | None], _Scene]:
    """`_divide` for data of one kind: counts if all of it are whole counts."""
    counts = are_whole_counts(frames, noise, mask)
    return partial(_divide, noise=noise, weights=weights, key=key, whole_counts=counts)


def are_whole_counts(frames: Array, noise: Noise, mask: Array | None) -> bool:
    """Can photons be dealt out one by one?"""
    if not isinstance(noise, Poisson) or not bool(jnp.all(noise.gain > 0)):
        return False
    counts = frames / noise.gain.astype(frames.dtype)
    whole = (counts >= 0) & (jnp.abs(counts - jnp.round(counts)) < 1e-3)
    return bool(jnp.all(whole, where=mask))
