"""Shifts that are left in an aligned stack of few components.

Frame i of a stack that is not quite at rest is, to first order, mᵢ − eᵢ·∇mᵢ, where the
frames m are made of few images, mᵢ = Σ_k v_ki W_k. The part of this that other images
and spectra would explain as well says nothing about the shifts, and is projected out:
then the contrast may change from frame to frame in any way, and no frame is held in
place by its own noise.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from tvjax.arguments import as_full_mask
from tvjax.registration.register import check_frames
from tvjax.registration.shifting import correlate_along, shifted_mask

# Coefficients of the central difference of eighth order, for the neighbors on one side.
DIFFERENCES = np.asarray([4 / 5, -1 / 5, 4 / 105, -1 / 280])
# Directions in which the sum of squares curves by less than this share of the mean are
# not determined by the data, as that of all frames together, and not moved along.
FLAT = 1e-6


class Slopes(NamedTuple):
    """How the stack changes with the shifts, beyond what other images explain."""

    images: Float[np.ndarray, "2 component pixel"]  # derivatives of the images
    curvature: Float[np.ndarray, "energy 2 energy 2"]  # of half the sum of squares
    inside: Bool[np.ndarray, "height width"]  # the pixels where they are known


def remaining_shifts(
    y: Real[ArrayLike, "energy height width"],
    images: Float[ArrayLike, "component height width"],
    spectra: Float[ArrayLike, "component energy"],
    *,
    mask: Bool[ArrayLike, "height width"] | None = None,
    sigma: Float[ArrayLike, " energy"] | None = None,
) -> Float[np.ndarray, "energy 2"]:
    """Find the displacements e that an aligned stack still has.

        min_{e, V, W} Σ_i ‖yᵢ − mᵢ(r − eᵢ)‖² / σᵢ²,   mᵢ = Σ_k v_ki W_k

    by one step of Gauss-Newton, to first order in e and in the changes of V and W,
    which are eliminated (variable projection, Golub and Pereyra 1973,
    10.1137/0710036): with P and Q the projectors on what images and spectra cannot
    make,

        Σ_j,b ⟨P ∂_a mᵢ, P ∂_b mⱼ⟩ Q_ij e_jb = −⟨P ∂_a mᵢ, (Y Q)ᵢ⟩.

    All frames are solved for at once. Once the stack is aligned by these shifts, and
    images and spectra are found anew, the next step can be taken, until it is small.

    Args:
        y: Frames that are aligned but for these shifts, any values where invalid.
        images: Coefficient images W, best denoised: any noise in them counts as
            structure.
        spectra: Amount of each image in each frame, in the unit of the stack.
        mask: True where a pixel is valid in all frames.
        sigma: Standard deviation of the noise in each frame, in the unit of the stack;
            by default the same in all.

    Returns:
        Displacements (row, column) in pixels, of mean zero. A frame in which nothing
        can be seen has zero.

    Raises:
        ValueError: For shapes that do not match.
    """
    check_frames(y)
    stack = np.asarray(y)
    whitened = _whitened(images, spectra, sigma, stack.shape)
    slopes = _slopes(*whitened[:2], as_full_mask(mask, stack.shape[1:]))
    # frame by frame: a stack of its own for the pixels inside would be another copy
    products = np.stack(
        [
            slopes.images @ (frame[slopes.inside] / level)
            for frame, level in zip(stack, whitened.sigma, strict=True)
        ],
        axis=-1,
    )
    seen = np.einsum(
        "kt,akt->ta", whitened.spectra, products @ _outside(whitened.spectra)
    )
    size = 2 * len(stack)
    curvature = slopes.curvature.reshape(size, size)
    scale = np.trace(curvature) / size
    if not scale > 0:
        return np.zeros((len(stack), 2))
    damped = curvature + FLAT * scale * np.eye(size)
    shifts = np.linalg.solve(damped, -seen.reshape(size)).reshape(-1, 2)
    return shifts - shifts.mean(axis=0)


def shift_bound(
    images: Float[ArrayLike, "component height width"],
    spectra: Float[ArrayLike, "component energy"],
    *,
    mask: Bool[ArrayLike, "height width"] | None = None,
    sigma: Float[ArrayLike, " energy"] | None = None,
) -> Float[np.ndarray, "energy 2"]:
    """The least standard deviation that any unbiased estimate of a shift has.

        √diag (Σ ∇mᵢ ∇mᵢᵀ / σᵢ²)⁻¹,   mᵢ = Σ_k v_ki W_k

    the bound of Cramér and Rao for the displacement of each frame alone, if its scene
    were known.

    Args:
        images: Coefficient images W.
        spectra: Amount v of each image in each frame, in the unit of the stack.
        mask: True where a pixel is valid in all frames.
        sigma: Standard deviation of the noise in each frame, in the unit of the stack;
            by default one.

    Returns:
        Deviations (row, column) in pixels; infinite where nothing can be seen.

    Raises:
        ValueError: For shapes that do not match.
    """
    shape = (np.shape(spectra)[-1], *np.shape(images)[-2:])
    whitened = _whitened(images, spectra, sigma, shape)
    gradients, _ = _gradients(whitened.images, as_full_mask(mask, shape[1:]))
    products = np.einsum("akp,blp->abkl", gradients, gradients)
    information = np.einsum(
        "kt,abkl,lt->tab", whitened.spectra, products, whitened.spectra
    )
    determinant = np.linalg.det(information)
    known = determinant > 0
    # the inverse of a matrix of two by two has the other entry of its diagonal
    others = information[:, [1, 0], [1, 0]]
    variances = others / np.where(known, determinant, 1)[:, None]
    return np.where(known[:, None], np.sqrt(variances), np.inf)


def _slopes(
    images: Float[np.ndarray, "component height width"],
    spectra: Float[np.ndarray, "component energy"],
    mask: Bool[Array, "height width"],
) -> Slopes:
    """Derivatives of the images without what the images themselves can make."""
    gradients, inside = _gradients(images, mask)
    basis, _ = np.linalg.qr(images[:, inside].T)
    gradients = gradients - (gradients @ basis) @ basis.T
    products = np.einsum("akp,blp->abkl", gradients, gradients, optimize=True)
    products = np.einsum("ki,abkl,lj->iajb", spectra, products, spectra, optimize=True)
    return Slopes(gradients, products * _outside(spectra)[:, None, :, None], inside)


def _gradients(
    images: Float[np.ndarray, "component height width"],
    mask: Bool[Array, "height width"],
) -> tuple[Float[np.ndarray, "2 component pixel"], Bool[np.ndarray, "height width"]]:
    """Derivatives of the images along both axes, and where they are known."""
    single = jnp.where(mask, jnp.asarray(images, jnp.float32), 0)
    reach, slope = len(DIFFERENCES), np.zeros(2 * len(DIFFERENCES) + 1)
    slope[reach + 1 :] = DIFFERENCES
    slope -= slope[::-1]

    def along(axis: int) -> Array:
        pad = [(0, 0), (0, 0), (0, 0)]
        pad[axis + 1] = reach, reach
        padded = jnp.pad(single, pad)
        return jax.vmap(lambda z: correlate_along(z, jnp.asarray(slope), axis))(padded)

    gradients = np.asarray(jnp.stack([along(axis) for axis in (0, 1)]), float)
    inside = mask
    for shift in ((reach, 0), (-reach, 0), (0, reach), (0, -reach)):
        inside = inside & shifted_mask(mask, jnp.asarray(shift, float))
    inside = np.asarray(inside)
    return gradients[:, :, inside], inside


def _outside(
    spectra: Float[np.ndarray, "component energy"],
) -> Float[np.ndarray, "energy energy"]:
    """The projector on what is no mixture of the spectra."""
    basis, _ = np.linalg.qr(spectra.T)
    return np.eye(len(basis)) - basis @ basis.T


class _Whitened(NamedTuple):
    """A stack as images and spectra, in double precision and in units of its noise."""

    images: Float[np.ndarray, "component height width"]
    spectra: Float[np.ndarray, "component energy"]
    sigma: Float[np.ndarray, " energy"]  # the unit


def _whitened(
    images: Float[ArrayLike, "component height width"],
    spectra: Float[ArrayLike, "component energy"],
    sigma: Float[ArrayLike, " energy"] | None,
    shape: tuple[int, ...],
) -> _Whitened:
    """Images and spectra that fit a stack of some shape, in units of its noise."""
    parts, shares = np.asarray(images, float), np.asarray(spectra, float)
    levels = np.ones(shape[0]) if sigma is None else np.asarray(sigma, float)
    wanted = (len(parts), *shape[1:]), (len(parts), shape[0]), shape[:1]
    found = parts.shape, shares.shape, levels.shape
    if wanted != found:
        raise ValueError(
            "`images`, `spectra` and `sigma` must have the shapes {}, {} and {} to fit "
            "the stack, got {}, {} and {}.".format(*wanted, *found)
        )
    return _Whitened(parts, shares / levels, levels)
