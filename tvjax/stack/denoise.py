"""Denoising of an energy stack, with rank and strengths chosen from the data."""

import operator
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num, PRNGKeyArray, PyTree

from tvjax.arguments import as_numpy, check_noise, is_traced
from tvjax.noise import Gaussian, Noise
from tvjax.stack.blocks import Blocks, project, Sliceable
from tvjax.stack.coefficients import denoise_coefficients, Denoised, Denoiser, Probed
from tvjax.stack.components import Components
from tvjax.stack.noise_check import check_noise_levels, NoiseCheck
from tvjax.stack.noise_draws import (
    correlated_draws,
    NoiseDraws,
    signal_free_directions,
    white_draws,
    without_components,
)
from tvjax.stack.noise_levels import with_signs
from tvjax.stack.pixel_noise import PixelNoise
from tvjax.stack.refine import refine, Refined
from tvjax.stack.result import StackResult
from tvjax.stack.shared_edges import share_edges
from tvjax.stack.survey import FEW, num_passes, Survey, survey, tells_its_noise

# This many components are tried beyond those that stand out of the noise: once they are
# denoised, they may be worth keeping.
SURPLUS = 2
# Samples of the noise that are taken from the stack: two for each component that is
# usually tried, and enough to see by how far the noise is correlated.
NUM_DRAWS = 24
# Bytes that a block of a stack in memory may take: larger blocks are no faster.
BLOCK_MEMORY = 2**27

# Returns what a function makes of the arrays and numbers given, which it may know from
# before; both by their names.
Remember: TypeAlias = Callable[
    [PyTree, Callable[[], dict[str, np.ndarray]]], dict[str, np.ndarray]
]


def denoise_stack(
    y: Num[ArrayLike, "energy height width"],
    *,
    noise: Noise | None = None,
    rank: int | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
    shared_edges: bool = False,
    extra: Sequence[Denoiser] = (),
    key: PRNGKeyArray | None = None,
) -> StackResult:
    """Denoise an energy stack in the subspace of its own leading components (SUM).

        X = Σ_k Σ_j a_kj F_kj(w_k) v_kᵀ,   k ≤ rank

    on the stack divided by its noise level at each energy, with the temporal basis v of
    the data themselves and their coefficient images w. The F_kj are the identity, TV
    with a strength α_k chosen as `tvjax.denoise` does it, wavelets and a network. The
    coefficients a_kj are those of least risk of the whole stack, in which the basis
    depends on the noise as well, and the rank is that of the last component that is
    more than noise.

    Looks at the numbers of its data to choose, so that JAX cannot trace it: inside
    `jax.jit`, `jax.vmap` or `jax.grad` take a `tvjax.SUM` of a given rank.

    Li et al. 2021 have one denoiser for all components, and take the basis as fixed.

    Args:
        y: Optical density or counts, the energies along the first axis.
        noise: How noisy the data is. By default white noise, its level estimated for
            each energy, and over the frame where it differs; it is compared with what
            `tvjax.diagnose_noise` finds in single frames, which tells all of it where
            there are less than twelve energies. A model may follow the signal, as
            counts do, or have a level for each value.
        rank: Number of components; by default chosen.
        mask: True where a pixel is valid, at all energies. The others come back as
            they are.
        shared_edges: Whether to mix in what vector TV makes of all clear components
            together, which helps where faint components have the edges of stronger
            ones.
        extra: Denoisers to be mixed in for what they are worth, callables from an image
            with noise of variance one to an image.
        key: Key of the random probes; the same by default in every call.

    Raises:
        ValueError: For anything but a stack, values that are not finite under the mask,
            a frame of zeros, or a rank that the stack does not have.
        TypeError: For data that JAX traces.

    Example:
        >>> import numpy as np, tvjax
        >>> rng = np.random.default_rng(0)
        >>> spectra, amounts = rng.random((6, 2)), rng.random((2, 20, 20))
        >>> y = np.tensordot(spectra, amounts, 1) + 0.1 * rng.normal(size=(6, 20, 20))
        >>> result = tvjax.denoise_stack(y, rank=1)
        >>> result.image.shape, result.rank
        ((6, 20, 20), 1)
    """
    if is_traced(y):
        raise TypeError(
            "`tvjax.denoise_stack` looks at the numbers to choose rank and strengths, "
            "which JAX cannot trace: inside jit, vmap or grad use `tvjax.SUM`."
        )
    in_numpy = not isinstance(y, jax.Array)
    data = as_numpy(y)
    found = fit_components(
        data,
        noise=noise,
        rank=rank,
        mask=mask,
        shared_edges=shared_edges,
        extra=extra,
        key=key,
        memory=BLOCK_MEMORY,
    )
    x = found.frames(0, len(data))
    if found.mask is not None:
        x = np.where(found.mask, x, data)
    return StackResult(**vars(found), image=x if in_numpy else jnp.asarray(x))


def fit_components(
    y: Sliceable,
    *,
    noise: Noise | None = None,
    rank: int | None = None,
    mask: Bool[ArrayLike, "height width"] | None = None,
    shared_edges: bool = False,
    extra: Sequence[Denoiser] = (),
    key: PRNGKeyArray | None = None,
    memory: int = 2**30,
    progress: Callable[[int, int], None] = lambda done, total: None,
    remember: Remember | None = None,
) -> Components:
    """Denoise a stack that need not fit in memory, as `denoise_stack` does.

    The stack is read twice, in blocks of rows, or a few times where there are more than
    1500 energies. What is kept are a few images and their spectra.

    Args:
        y: Anything with a shape (energy, height, width), a type and NumPy's slices.
        noise: Noise model, as for `denoise_stack`.
        rank: Number of components; by default chosen.
        mask: True where a pixel is valid, at all energies.
        shared_edges: Whether to mix in what vector TV makes of all clear components.
        extra: Denoisers to be mixed in, as for `denoise_stack`.
        key: Key of the random probes; the same by default in every call.
        memory: Bytes that a block of rows may take.
        progress: Called with the number of rows read so far, and with all that will be
            read.
        remember: Asked for each component, which takes long to denoise; not where
            there are `extra` denoisers, which it cannot tell apart. By default nothing
            is remembered.

    Raises:
        ValueError: As `denoise_stack`.
    """
    valid = _check(y, mask, rank)
    if noise is not None:
        check_noise(noise)
    if remember is None or extra:
        remember = _compute_anew
    key = jax.random.key(0) if key is None else key
    blocks = Blocks(y, valid, memory, progress, num_passes=num_passes(y))
    found = survey(y, blocks, noise, key)
    known = found.basis.vectors.shape[1]
    if rank is not None and rank > known:
        raise ValueError(
            f"`rank` must be from 1 to {known} for a stack of so many energies, "
            f"got {rank}."
        )
    parts = _find_components(blocks, found, noise, rank, key)
    denoised = _denoise_each(
        parts,
        rank,
        shared_edges=shared_edges,
        extra=extra,
        mask=valid,
        remember=remember,
    )
    check = None
    if noise is None:
        by_frame = not tells_its_noise(blocks)
        check = check_noise_levels(y, found.sigma, valid, by_frame=by_frame)
    return _gather(denoised, parts, found, noise, check, blocks.num_valid, rank, valid)


def _compute_anew(
    given: PyTree, compute: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """Remember nothing."""
    return compute()


class _Parts(NamedTuple):
    """The components of a stack, still noisy, and all that is known of their noise."""

    images: Float[np.ndarray, "component height width"]
    vectors: Float[np.ndarray, "energy component"]
    origins: list[Refined]
    variances: Float[np.ndarray, "component height width"] | None
    draws: NoiseDraws
    independent: float  # share of the pixels whose noise is independent


def _find_components(
    blocks: Blocks,
    found: Survey,
    noise: Noise | None,
    rank: int | None,
    key: PRNGKeyArray,
) -> _Parts:
    """The pass for the coefficient images, and the components refined from them."""
    sigma, mask = found.sigma, blocks.mask
    clear = found.num_clear(blocks.num_valid)
    least = max(rank or 0, min(clear + SURPLUS, found.basis.vectors.shape[1]))
    candidates = found.directions(clear, least)
    of_free, of_binnings, of_draws = jax.random.split(key, 3)
    free = np.empty((len(sigma), 0))
    if noise is None and FEW <= len(sigma) - clear < blocks.num_valid:
        num_draws = min(len(sigma) - clear, NUM_DRAWS)
        signal = found.basis.vectors[:, :clear]
        free = signal_free_directions(signal, num_draws, of_free)
    projected = project(blocks, np.concatenate([candidates, free], axis=1), sigma)
    images, drawn = np.split(projected.images, [candidates.shape[1]])

    independent = found.num_independent / blocks.num_valid
    pixels = PixelNoise(noise, blocks, sigma, projected.power, independent)
    variances = pixels.variances(images[:clear], candidates[:, :clear], clear)
    if not free.size:
        shape = (NUM_DRAWS, *images.shape[1:])
        one = None if variances is None else np.broadcast_to(variances[0], shape)
        drawn = _model_draws(shape, one, mask, found, of_binnings).splitting
    origins = refine(
        images,
        drawn,
        found.leading_response(blocks.num_valid),
        variance=None if variances is None else variances[0],
        num_energies=len(sigma),
        least=rank or 0,
        surplus=SURPLUS,
        mask=mask,
    )
    rotation = np.stack([origin.rotation for origin in origins], axis=1)
    vectors = with_signs(candidates @ rotation)
    rotation = (candidates.T @ vectors).astype(images.dtype)
    images = np.tensordot(rotation.T, images, 1)
    clear = sum(origin.clear for origin in origins)
    variances = pixels.variances(images, vectors, clear)
    if free.size:
        left = without_components(drawn, free, images, vectors)
        draws = NoiseDraws.of(left, len(images))
    else:
        draws = _model_draws(images.shape, variances, mask, found, of_draws)
    return _Parts(images, vectors, origins, variances, draws, independent)


def _model_draws(
    shape: tuple[int, ...],
    variances: Float[np.ndarray, "component height width"] | None,
    mask: Bool[np.ndarray, "height width"] | None,
    found: Survey,
    key: PRNGKeyArray,
) -> NoiseDraws:
    """Samples of the noise by its model, where the stack has none of its own."""
    if found.kernel is None:
        return white_draws(shape, variances, mask, key)
    return correlated_draws(shape, variances, mask, found.kernel, key)


def _denoise_each(
    parts: _Parts,
    rank: int | None,
    *,
    shared_edges: bool,
    extra: Sequence[Denoiser],
    mask: Bool[np.ndarray, "height width"] | None,
    remember: Remember,
) -> list[Denoised]:
    """The coefficient images denoised, the leading one first: the others follow it."""
    images, variances = parts.images, parts.variances
    clear = sum(origin.clear for origin in parts.origins)
    together: list[Probed] = []
    if shared_edges and clear > 1:
        together = share_edges(
            images[:clear],
            variance=None if variances is None else variances[:clear],
            mask=mask,
            draws=jax.tree.map(lambda z: z[:clear], parts.draws),
        )
    denoised: list[Denoised] = []
    for k, origin in enumerate(parts.origins[:rank]):
        given = {
            "image": images[k],
            "origin": origin,
            "leading": denoised[0].image if denoised else None,
            "variance": None if variances is None else variances[k],
            "draws": jax.tree.map(operator.itemgetter(k), parts.draws),
            "correlation": 1 / parts.independent,
            "mask": mask,
            "shared": together[k : k + 1],
        }
        found = remember(given, partial(_denoise_one, extra=extra, **given))
        one = Denoised(
            found["image"],
            found["alpha"].item(),
            found["coefficients"],
            found["cost"].item(),
        )
        denoised.append(one)
        if rank is None and not origin.clear and not one.coefficients.any():
            break  # what is fainter than noise is not worth its time
    return denoised


def _denoise_one(**given: Any) -> dict[str, np.ndarray]:
    """A coefficient image denoised, its parts by name."""
    found = denoise_coefficients(given.pop("image"), given.pop("origin"), **given)
    return {name: np.asarray(part) for name, part in found._asdict().items()}


def _gather(
    denoised: list[Denoised],
    parts: _Parts,
    found: Survey,
    noise: Noise | None,
    check: NoiseCheck | None,
    num_pixels: int,
    rank: int | None,
    mask: Bool[np.ndarray, "height width"] | None,
) -> Components:
    """Choose the rank, and drop what is beyond it."""
    num, size, sigma = len(denoised), len(found.sigma), found.sigma
    images, vectors = parts.images[:num], parts.vectors[:, :num]
    costs = np.cumsum([d.cost for d in denoised])
    total, kept = np.sum(found.basis.values**2), np.sum(images**2, axis=(1, 2))
    left = total - np.cumsum(kept, dtype=float)
    relative = (costs + left) / (num_pixels * size) - 1
    coefficients = np.zeros((num, max(len(d.coefficients) for d in denoised)))
    for row, d in zip(coefficients, denoised, strict=True):
        row[: len(d.coefficients)] = d.coefficients
    some = np.flatnonzero(coefficients.any(axis=1))
    rank = rank or 1 + int(np.max(some, initial=0))
    # the error of an image of one component is spread over the energies as its spectrum
    errors = np.array([d.cost for d in denoised[:rank]]) - num_pixels
    spread = sigma**2 @ vectors[:, :rank] ** 2
    truncated = left[rank - 1] - num_pixels * (size - rank)
    risk = errors @ spread + truncated * np.mean(sigma**2)
    used = np.arange(num) < rank
    return Components(
        noise=Gaussian(sigma[:, None, None]) if noise is None else noise,
        rank=rank,
        sigma=sigma,
        risk=np.asarray(risk / (num_pixels * size)),
        relative_risk=float(relative[rank - 1]),
        relative_risks=relative,
        alphas=np.array([d.alpha for d in denoised]),
        coefficients=np.where(used[:, None], coefficients, 0),
        singular_values=found.basis.values,
        spectra=(vectors * sigma[:, None]).T,
        images=images,
        denoised=np.where(used[:, None, None], [d.image for d in denoised], 0),
        mask=mask,
        diagnosis=None if check is None else check.report,
        warnings=() if check is None else check.warnings,
    )


def _check(
    y: Sliceable, mask: Bool[ArrayLike, "height width"] | None, rank: int | None
) -> Bool[np.ndarray, "height width"] | None:
    """The mask in NumPy; a `ValueError` for what is no stack, mask or rank of it."""
    real = np.issubdtype(y.dtype, np.number)
    real = real and not np.issubdtype(y.dtype, np.complexfloating)
    if not real or len(y.shape) != 3 or 0 in y.shape or y.shape[0] < 2:
        raise ValueError(
            "`y` must be a stack (energy, height, width) of real numbers, of two "
            f"energies or more, got shape {tuple(y.shape)} of {y.dtype}."
        )
    num_energies, *frame = y.shape
    if rank is not None and not 1 <= rank <= num_energies:
        raise ValueError(f"`rank` must be from 1 to {num_energies}, got {rank}.")
    if mask is None:
        return None
    mask = np.asarray(mask, bool)
    if mask.shape != tuple(frame) or not mask.any():
        raise ValueError(
            f"`mask` must have the shape {tuple(frame)} of a frame and a valid pixel, "
            f"got shape {mask.shape} with {int(mask.sum())}."
        )
    return mask
