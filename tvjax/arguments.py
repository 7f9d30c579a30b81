"""The checks of images, masks, noise models and strengths that public faces share.

Each returns its argument as the code within wants it, or raises a `ValueError` whose
sentence names the argument, what it got and what to do. Values that JAX traces are not
looked at: they have no numbers yet.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from jax import Array, core, dtypes, numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Bool, Float

# What to do with a structured array.
_FIELDS = "; choose one of its fields"


def as_numpy(y: ArrayLike, *, name: str = "y") -> np.ndarray:
    """The same values as an array of NumPy, in the byte order of this computer.

    Raises:
        ValueError: They are no numbers, no array, or some of them are masked.
    """
    if np.ma.is_masked(y):
        raise ValueError(
            f"`{name}` has masked values: pass {name}.data, and "
            f"mask=~numpy.ma.getmaskarray({name})."
        )
    try:
        values = np.asarray(y)
    except ValueError as error:  # lists of several lengths
        raise ValueError(f"`{name}` must be an array of numbers: {error}.") from error
    if not (jnp.issubdtype(values.dtype, np.number) or values.dtype == bool):
        raise ValueError(
            f"`{name}` must be an array of numbers, got {type(y).__name__} of "
            f"{values.dtype}" + _FIELDS * (values.dtype.names is not None) + "."
        )
    if values.dtype.itemsize > 8 and values.dtype.kind == "f":
        values = values.astype(np.float64)
    return values.astype(values.dtype.newbyteorder("="), copy=False)


def as_array(y: ArrayLike, *, name: str = "y") -> Array:
    """The same values as an array of JAX, which would wrap integers of 64 bits.

    Those that 32 bits hold stay integers; if one does not, all become floating point.

    Raises:
        ValueError: They are no numbers, or some of them are masked.
    """
    if isinstance(y, bool | int | float):
        return jnp.asarray(y)  # of no type of its own, as JAX has it
    if not isinstance(y, Array):
        y = as_numpy(y, name=name)
        kind = dtypes.canonicalize_dtype(y.dtype)
        if y.dtype.kind in "iu" and kind != y.dtype and not _fits(y, kind):
            y = y.astype(np.float64)
    return jnp.asarray(y)


def as_floating(y: ArrayLike, *, name: str = "y") -> Float[Array, "*shape"]:
    """The same values in floating point, of single precision at least.

    Integers of 64 bits are converted by value where JAX has none; what single precision
    cannot tell apart is rounded.

    Raises:
        ValueError: The values are complex.
    """
    y = as_array(y, name=name)
    if jnp.iscomplexobj(y):
        raise ValueError(f"`{name}` must be real, got complex values.")
    return y.astype(jnp.promote_types(y.dtype, jnp.float32))


def as_image(
    y: ArrayLike, *, name: str = "y", ndim: Sequence[int] = (2,), remedy: str = ""
) -> Float[Array, "*shape"]:
    """An image (height, width), or a stack of them, in floating point.

    Args:
        y: What was given.
        name: Name of the argument, for the sentence.
        ndim: Numbers of axes that are welcome: 2 for one image, 3 for frames.
        remedy: What to do with anything else.

    Raises:
        ValueError: The array is complex, empty, or has another number of axes.
    """
    y = as_array(y, name=name)
    axes = {2: "an image (height, width)", 3: "frames (frame, height, width)"}
    if jnp.iscomplexobj(y) or y.ndim not in ndim or y.size == 0:
        expected = " or ".join(axes[n] for n in ndim)
        raise ValueError(
            f"`{name}` must be {expected} of real numbers, got shape {y.shape} of "
            f"{y.dtype}" + (f"; {remedy}." if remedy else ".")
        )
    return as_floating(y, name=name)


def as_mask(
    mask: ArrayLike | None,
    *shapes: tuple[int, ...],
    name: str = "mask",
) -> Bool[Array, "*shape"] | None:
    """A mask of booleans in one of some shapes; None stays None.

    Args:
        mask: True where a pixel is valid.
        *shapes: Those that fit what is masked.
        name: Name of the argument, for the sentence.

    Raises:
        ValueError: The mask has another shape, or no valid pixel at all.
    """
    if mask is None:
        return None
    mask = as_array(mask, name=name).astype(bool)
    _check_shape(mask, shapes, name)
    some = jnp.any(mask)  # inside `jax.jit` even a known mask's is traced
    if not is_traced(some) and not bool(some):
        raise ValueError(f"`{name}` leaves no valid pixel; True means valid.")
    return mask


def as_full_mask(
    mask: ArrayLike | None,
    shape: tuple[int, ...],
    *alternatives: tuple[int, ...],
    name: str = "mask",
) -> Bool[Array, "*shape"]:
    """A mask of one shape, True everywhere by default; it may leave no pixel.

    Args:
        mask: True where a pixel is valid.
        shape: Shape of what is returned.
        *alternatives: Further shapes that are welcome, and are broadcast to `shape`.
        name: Name of the argument, for the sentence.

    Raises:
        ValueError: The mask has another shape.
    """
    if mask is None:
        return jnp.ones(shape, bool)
    mask = as_array(mask, name=name).astype(bool)
    _check_shape(mask, (shape, *alternatives), name)
    return jnp.broadcast_to(mask, shape)


def check_finite(
    y: Float[Array, "*shape"], mask: Bool[Array, "*shape"] | None, *, name: str = "y"
) -> None:
    """Refuse values under the mask that are not finite.

    Raises:
        ValueError: A valid pixel is NaN or infinite.
    """
    bad = ~jnp.isfinite(y) if mask is None else ~jnp.isfinite(y) & mask
    if is_traced(bad):
        return
    if num := int(jnp.sum(bad)):
        raise ValueError(
            f"{num} valid pixels of `{name}` are NaN or infinite; mark them invalid "
            f"with mask=numpy.isfinite({name})."
        )


def as_non_negative(name: str, value: ArrayLike) -> Float[Array, "*shape"]:
    """A number, or an array of them, that is zero or more.

    Raises:
        ValueError: A value is negative or NaN.
    """
    value = _as_number(name, value)
    fits = jnp.all(value >= 0)
    if not is_traced(fits) and not bool(fits):
        raise ValueError(f"`{name}` must not be negative, got {jnp.min(value)}.")
    return value


def as_positive(name: str, value: ArrayLike) -> Float[Array, "*shape"]:
    """A number, or an array of them, above zero.

    Raises:
        ValueError: A value is zero, negative or NaN.
    """
    value = _as_number(name, value)
    fits = jnp.all(value > 0)
    if not is_traced(fits) and not bool(fits):
        raise ValueError(f"`{name}` must be positive, got {jnp.min(value)}.")
    return value


def _as_number(name: str, value: ArrayLike) -> Float[Array, "*shape"]:
    try:
        found = as_array(value, name=name)
        if not jnp.iscomplexobj(found):
            return found.astype(float)
    except (TypeError, ValueError):
        pass
    raise ValueError(f"`{name}` must be a number, got {value!r}.")


def check_noise(noise: Any) -> None:
    """Refuse what is no noise model: it must have `variance(y)`.

    Raises:
        ValueError: A number was given, or anything else without a variance.
    """
    if isinstance(noise, type) or not callable(getattr(noise, "variance", None)):
        got = repr(noise) if isinstance(noise, str | type) else type(noise).__name__
        raise ValueError(
            f"`noise` must be a noise model, got {got}; a standard "
            "deviation is tvjax.Gaussian(sigma), counts are tvjax.Poisson(gain)."
        )


def check_choice(name: str, value: str, choices: Sequence[str]) -> None:
    """Refuse a word that is none of the choices.

    Raises:
        ValueError: It is none of them.
    """
    if value not in choices:
        raise ValueError(f"`{name}` must be one of {tuple(choices)}, got {value!r}.")


def check_share(name: str, value: bool | float, meaning: str) -> None:
    """Refuse what is no number between 0 and 1.

    Raises:
        ValueError: It is none; the sentence says with `meaning` what it should be.
    """
    known = isinstance(value, bool | int | float | np.number) and 0 <= value <= 1
    if not known:
        raise ValueError(f"`{name}` must be {meaning}, got {value!r}.")


def is_traced(value: Any) -> bool:
    """Whether JAX traces the value, so that it has no numbers to look at."""
    return isinstance(value, core.Tracer)


def _fits(y: np.ndarray, kind: np.dtype) -> bool:
    """Whether a type of integers holds all values."""
    limits = np.iinfo(kind)
    return not y.size or bool(y.min() >= limits.min and y.max() <= limits.max)


def _check_shape(
    mask: Bool[Array, "..."], shapes: Sequence[tuple[int, ...]], name: str
) -> None:
    if mask.shape not in shapes:
        expected = " or ".join(map(str, shapes))
        raise ValueError(f"`{name}` must have the shape {expected}, got {mask.shape}.")
