"""The strength of total variation that the data ask for.

The data are dealt out to two independent measurements of the same scene: one to
denoise, one to judge by (`tvjax.risk.splitting`). The error against the second is
descended on; its gradient costs one tangent solve.
"""

from collections.abc import Callable
from functools import partial

import equinox as eqx
import jax
import numpy as np
from jax import Array, numpy as jnp
from jaxtyping import Bool, Float, PRNGKeyArray

from tvjax.denoisers import TV
from tvjax.noise import Noise
from tvjax.operators import Norm
from tvjax.risk.splitting import (
    are_whole_counts,
    deal,
    Split,
)
from tvjax.solvers import Accuracy, blank_memory, Memory
from tvjax.tuning.descent import secant, tune, Tuned
from tvjax.tuning.tiles import cut_tiles, place_tiles, Places, SAMPLE

# The descent begins at this multiple of the noise's deviation, where the strength of
# most images is.
START = 0.8
# The strength stays within these multiples of its start: beyond lie no denoising, and
# no image.
RANGE = (1e-3, 1e3)
# The descent ends when the strength moves by less than this share of itself. The error
# that is left is far smaller, because a secant step leads to the minimum.
ALPHA_TOLERANCE = 0.06
# Greatest number of steps of the descent; it takes three to five.
MAX_MOVES = 10
# Relative duality gap of the solves: what is left of it moves the risk by less than the
# chance of the split does.
TUNING_GAP = 1e-3
# Accuracy of the gradient, of which a secant step needs two digits. One that is worse
# still points downhill, and the descent is judged by its risks.
TUNING_TANGENT = Accuracy(tol=0.05, max_steps=500, strict=False)


def choose_alpha(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    *,
    mask: Bool[Array, "frame height width"] | None = None,
    norm: Norm = "isotropic",
    profile: Float[Array, "frame height width"] | None = None,
    other: Float[Array, "frame height width"] | None = None,
    key: PRNGKeyArray,
) -> Tuned:
    """The strength of least risk, for all frames, by one split.

    The descent begins on tiles spread over the frames. It ends there where the tiles
    hold enough pixels, else with a step or two on everything.

    Args:
        frames: Noisy data.
        noise: Noise model of all frames.
        mask: True where a pixel is valid.
        norm: "isotropic" or "anisotropic".
        profile: The strength in each pixel is its profile times what is chosen; the
            noise then has a level of each pixel's own, too.
        other: Another draw of the noise in `frames`, which then need not be white.
        key: Key of the random split.

    Returns:
        A `Tuned` whose denoiser is a `TV`.
    """
    deal_out = partial(
        _deal_out,
        frames,
        noise,
        mask=mask,
        other=other,
        profile=profile,
        key=key,
        whole_counts=are_whole_counts(frames, noise, mask),
    )
    places = None if profile is not None else _places(frames, noise, mask)
    tiles = None if places is None else deal_out(places)
    return _in_two_stages(tiles, partial(deal_out, None), norm)


def choose_alpha_between(
    split: Split,
    *,
    norm: Norm = "isotropic",
    profile: Float[Array, "image height width"] | None = None,
) -> Tuned:
    """The strength of least error of one measurement against an independent other.

    Their noise may be anything that is independent between the two: a constant error
    in the variance moves the risk, but not where it is least.

    Args:
        split: Images (image, height, width) to denoise and to judge by. The strength
            is for all of the exposure.
        norm: "isotropic" or "anisotropic".
        profile: What the strength in each pixel is a multiple of; one by default.

    Returns:
        A `Tuned` whose denoiser is a `TV` of the strength without its profile.
    """
    whole = _Scene(split, profile)
    places = place_tiles(split.seen, split.mask)
    tiles = None
    if places is not None:
        tiles = jax.tree.map(lambda z: cut_tiles(z, places), whole)
    return _in_two_stages(tiles, lambda: whole, norm)


class _Scene(eqx.Module):
    """Images in two measurements, and the profile of their strength."""

    split: Split
    profile: Float[Array, "*shape"] | None  # of the strength


def _places(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    mask: Bool[Array, "frame height width"] | None,
) -> Places | None:
    """Where to cut tiles; nowhere if the noise has a level of each pixel's own."""
    uniform = all(jnp.ndim(parameter) == 0 for parameter in jax.tree.leaves(noise))
    return place_tiles(frames, mask) if uniform else None


def _deal_out(
    frames: Float[Array, "frame height width"],
    noise: Noise,
    places: Places | None,
    *,
    mask: Bool[Array, "frame height width"] | None,
    other: Float[Array, "frame height width"] | None = None,
    profile: Float[Array, "frame height width"] | None = None,
    key: PRNGKeyArray,
    whole_counts: bool,
) -> _Scene:
    """Deal out the data, or tiles of them; counts only if all of the data are."""
    if places is not None:
        frames = cut_tiles(frames, places)
        mask, other, profile = (
            None if z is None else cut_tiles(z, places) for z in (mask, other, profile)
        )
    y = frames if mask is None else jnp.where(mask, frames, 0)
    split = deal(y, noise, key=key, mask=mask, other=other, whole_counts=whole_counts)
    return _Scene(split, profile)


def _in_two_stages(
    tiles: _Scene | None, everything: Callable[[], _Scene], norm: Norm
) -> Tuned:
    """Descend on tiles, if any, and on everything where those are few."""
    start = TV(1.0, tol=TUNING_GAP, norm=norm, tangent=TUNING_TANGENT)
    if tiles is None:
        scene = everything()
        tuned = _descend(_start(start, scene), _mosaic(scene))
    else:
        scene = tiles
        tuned = _descend(_start(start, scene), _mosaic(scene))
        if scene.split.seen.size < SAMPLE:
            tuned = _descend(tuned.denoiser, _mosaic(everything()))
    # the noise falls as the root of the exposure, and the strength with it
    shift = 0.5 * np.log(scene.split.fraction)
    return eqx.tree_at(
        lambda t: (t.denoiser.log_alpha, t.visited.log_alpha),
        tuned,
        replace_fn=lambda log_alpha: log_alpha + shift,
    )


@eqx.filter_jit
def _start(tv: TV, scene: _Scene) -> TV:
    """Begin at the root of the mean variance."""
    held_out = jnp.mean(scene.split.variance, where=scene.split.mask)
    tiny = jnp.finfo(held_out.dtype).tiny
    variance = jnp.maximum((1 - scene.split.fraction) * held_out, tiny)
    return eqx.tree_at(lambda tv: tv.log_alpha, tv, jnp.log(START * jnp.sqrt(variance)))


@eqx.filter_jit
def _mosaic(scene: _Scene) -> _Scene:
    """All images of a scene in one, below each other, apart by an invalid row.

    One image has one certificate, for the sum that the risk is, and no kernel waits
    for the slowest of many.
    """
    images, _, width = scene.split.seen.shape
    if images > 1:
        scene = eqx.tree_at(
            lambda s: s.split.mask,
            scene,
            scene.split.valid,
            is_leaf=lambda mask: mask is None,
        )
        scene = jax.tree.map(
            lambda z: jnp.pad(z, ((0, 0), (0, 1), (0, 0))).reshape(1, -1, width), scene
        )
    return jax.tree.map(lambda z: z[0], scene)


@eqx.filter_jit
def _descend(start: TV, scene: _Scene) -> Tuned:
    """Tune one strength on the risk of a scene of one image."""
    split = scene.split

    def loss(
        tv: TV, key: PRNGKeyArray, memory: Memory
    ) -> tuple[Float[Array, ""], Memory]:
        del key
        f, memory = _fitted(tv, scene).resume(split.seen, memory)
        return split.error(f), memory

    limits = jnp.log(jnp.asarray(RANGE, split.seen.dtype)) + start.log_alpha
    tuned = tune(
        start,
        loss,
        optimizer=secant(first_step=0.15, max_step=0.7),
        num_steps=MAX_MOVES,
        key=jax.random.key(0),  # the loss draws nothing
        memory=blank_memory(split.seen),
        tol=ALPHA_TOLERANCE,
        bounds=(limits[0], limits[1]),
    )
    return tuned._replace(memory=None)


def _fitted(tv: TV, scene: _Scene) -> TV:
    """The denoiser with the scene's mask and the strength's profile."""
    masked = tv.with_mask(scene.split.mask)
    if scene.profile is None:
        return masked
    # an invalid row between tiles has no strength, nor needs one
    profile = jnp.where(scene.profile > 0, scene.profile, 1)
    log_alpha = tv.log_alpha + jnp.log(profile)
    return eqx.tree_at(lambda tv: tv.log_alpha, masked, log_alpha)
