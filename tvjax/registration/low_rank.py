"""How much jitter is left in an aligned stack of few components?

Frame i of a stack that is not quite at rest is, to first order, mᵢ − eᵢ·∇mᵢ, where the
frames m are made of few images, mᵢ = Σ_k v_ki W_k. What the images and spectra could
themselves take up of this tells nothing of the shifts, hence is projected out: then the
contrast may change as it likes, and no frame is held where it is by its own noise.
"""

from typing import NamedTuple

import jax
import numpy as np
from jax import numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Real

from tvjax.registration.arguments import frames_of, mask_of
from tvjax.registration.shifting import correlate_along, shifted_mask

# Of the central difference of eighth order, for the neighbors on one side.
DIFFERENCES = np.asarray([4 / 5, -1 / 5, 4 / 105, -1 / 280])
# Of the mean curvature: directions flatter than this, as of all frames together, are
# not told by the data, and not moved along.
FLAT = 1e-6


class Slopes(NamedTuple):
    """What the shifts change, outside of what images can take up."""

    images: Float[np.ndarray, "2 component pixel"]  # of the images, along y and x
    curvature: Float[np.ndarray, "energy 2 energy 2"]  # of half the sum of squares
    inside: Bool[np.ndarray, "height width"]  # the pixels


def remaining_shifts(
    stack: Real[ArrayLike, "energy height width"],
    images: Float[ArrayLike, "component height width"],
    spectra: Float[ArrayLike, "component energy"],
    *,
    mask: Bool[ArrayLike, "height width"] | None = None,
    sigma: Float[ArrayLike, " energy"] | None = None,
) -> Float[np.ndarray, "energy 2"]:
    """The displacements e that an aligned stack still has, by one step of Gauss-Newton.

        min_{e, V, W} Σ_i ‖yᵢ − mᵢ(r − eᵢ)‖² / σᵢ²,   mᵢ = Σ_k v_ki W_k

    to first order in e and in the changes of V and W, which are eliminated (variable
    projection, Golub and Pereyra 1973, 10.1137/0710036): with P and Q the projectors on
    what images and spectra cannot make,

        Σ_j,b ⟨P ∂_a mᵢ, P ∂_b mⱼ⟩ Q_ij e_jb = −⟨P ∂_a mᵢ, (Y Q)ᵢ⟩.

    All frames are solved for at once. Aligned by these, and with images and spectra
    found anew, the stack has its next step, until there is none to speak of.

    Args:
        stack: Frames at rest but for the search, any values where invalid.
        images: Coefficient images W, best denoised: what noise they have counts as
            structure.
        spectra: What each frame has of each, in the unit of the stack.
        mask: True where a pixel is valid in all frames.
        sigma: Standard deviation of the noise in each frame, in the unit of the stack;
            by default the same in all.

    Returns:
        Pixels (y, x), of mean zero. A frame in which nothing can be seen has zero.

    Raises:
        ValueError: For shapes that do not match.
    """
    stack = np.asarray(frames_of(stack))
    images, spectra, sigma = _whitened(images, spectra, sigma, stack.shape)
    slopes = _slopes(images, spectra, mask_of("mask", mask, stack.shape[1:]))
    # frame by frame: a stack of its own for the pixels inside would be another copy
    products = np.stack(
        [
            slopes.images @ (frame[slopes.inside] / level)
            for frame, level in zip(stack, sigma, strict=True)
        ],
        axis=-1,
    )
    seen = np.einsum("kt,akt->ta", spectra, products @ _outside(spectra))
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
    """The least standard deviation in pixels (y, x) that any unbiased estimate has.

    The Cramér-Rao bound of the displacement of each frame alone, were its scene known:
    the roots of the diagonal of (Σ ∇mᵢ ∇mᵢᵀ / σᵢ²)⁻¹. Infinite where nothing is seen.

    Args:
        images: As in `remaining_shifts`, like the other arguments.
        spectra: See there.
        mask: See there.
        sigma: See there.

    Raises:
        ValueError: For shapes that do not match.
    """
    shape = (np.shape(spectra)[-1], *np.shape(images)[-2:])
    images, spectra, _ = _whitened(images, spectra, sigma, shape)
    gradients, _ = _gradients(images, mask_of("mask", mask, shape[1:]))
    products = np.einsum("akp,blp->abkl", gradients, gradients)
    information = np.einsum("kt,abkl,lt->tab", spectra, products, spectra)
    determinant = np.linalg.det(information)
    known = determinant > 0
    # the inverse of two by two has the other entry of the diagonal
    others = information[:, [1, 0], [1, 0]]
    variances = others / np.where(known, determinant, 1)[:, None]
    return np.where(known[:, None], np.sqrt(variances), np.inf)


def _slopes(images, spectra, mask):
    gradients, inside = _gradients(images, mask)
    basis, _ = np.linalg.qr(images[:, inside].T)
    gradients = gradients - (gradients @ basis) @ basis.T
    products = np.einsum("akp,blp->abkl", gradients, gradients, optimize=True)
    products = np.einsum("ki,abkl,lj->iajb", spectra, products, spectra, optimize=True)
    return Slopes(gradients, products * _outside(spectra)[:, None, :, None], inside)


def _gradients(images, mask):
    """Derivatives of the images along y and x, and the pixels where they are known."""
    single = jnp.where(mask, jnp.asarray(images, jnp.float32), 0)
    reach, slope = len(DIFFERENCES), np.zeros(2 * len(DIFFERENCES) + 1)
    slope[reach + 1 :] = DIFFERENCES
    slope -= slope[::-1]

    def along(axis):
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


def _outside(spectra):
    """The projector on what is no mixture of the spectra."""
    basis, _ = np.linalg.qr(spectra.T)
    return np.eye(len(basis)) - basis @ basis.T


def _whitened(images, spectra, sigma, shape):
    """Images and spectra in double precision, in units of the noise, and its levels."""
    images, spectra = np.asarray(images, float), np.asarray(spectra, float)
    sigma = np.ones(shape[0]) if sigma is None else np.asarray(sigma, float)
    wanted = (len(images), *shape[1:]), (len(images), shape[0]), shape[:1]
    found = images.shape, spectra.shape, sigma.shape
    if wanted != found:
        raise ValueError(
            "`images`, `spectra` and `sigma` must have the shapes {}, {} and {} to fit "
            "the stack, got {}, {} and {}.".format(*wanted, *found)
        )
    return images, spectra / sigma, sigma
