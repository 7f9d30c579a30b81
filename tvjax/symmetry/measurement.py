"""A measured pattern whose arguments have been checked."""

from typing import NamedTuple

from jax import Array, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float, Num

from tvjax.arguments import as_image, as_mask, check_finite, check_noise
from tvjax.noise import diagnose_noise, Noise, NoiseReport


class Measurement(NamedTuple):
    """A pattern as the steps of this package pass it on.

    Attributes:
        image: The pattern in floating point, zero where it is invalid.
        mask: True where a pixel is valid.
        noise: Noise model that was given or estimated.
    """

    image: Float[Array, "height width"]
    mask: Bool[Array, "height width"]
    noise: Noise


def as_measurement(
    y: Num[ArrayLike, "height width"],
    *,
    noise: Noise | None,
    mask: Bool[ArrayLike, "height width"] | None,
) -> Measurement:
    """Check a pattern, its mask and its noise, which is estimated where none is given.

    Raises:
        ValueError: The array is no image, a valid pixel is not finite, the mask has
            another shape or leaves no pixel, or the noise is no noise model.
    """
    return as_diagnosed(y, noise=noise, mask=mask)[0]


def as_diagnosed(
    y: Num[ArrayLike, "height width"],
    *,
    noise: Noise | None,
    mask: Bool[ArrayLike, "height width"] | None,
) -> tuple[Measurement, NoiseReport | None]:
    """`as_measurement`, with what its noise was recognised by where none was given."""
    image = as_image(y, remedy="take the frames of a series one by one")
    valid = as_mask(mask, image.shape)
    if valid is None:
        valid = jnp.ones(image.shape, bool)
    check_finite(image, valid)
    report = None
    if noise is None:
        report = diagnose_noise(y, mask)
        noise = report.noise
    check_noise(noise)
    return Measurement(jnp.where(valid, image, 0), valid, noise), report


def check_centre(
    centre: tuple[float, float], shape: tuple[int, ...], *, outside: bool
) -> None:
    """Refuse a centre that is not in the image.

    Args:
        centre: Beam centre (y, x) in pixels.
        shape: Shape of the image.
        outside: Whether the centre may lie outside the image, by its size at most, as
            that of rings may.

    Raises:
        ValueError: The centre lies elsewhere.
    """
    if not is_within(centre, shape, outside=outside):
        raise ValueError(
            f"`centre` must lie in the image of shape {shape}, got "
            f"{tuple(map(float, centre))}; give (y, x) in pixels, the first one's "
            "centre being 0, or take 'azimuthal' if the beam passes beside."
        )


def is_within(
    centre: tuple[float, float], shape: tuple[int, ...], *, outside: bool
) -> bool:
    """Whether a centre lies in the image, or outside it by its size at most."""
    margin = float(outside)
    return len(centre) == 2 and all(
        -0.5 - margin * size <= c <= (1 + margin) * size - 0.5
        for c, size in zip(centre, shape, strict=True)
    )
