"""The values beside the images that depend on their type or their scale."""

from collections.abc import Callable

import numpy as np
from jaxtyping import ArrayLike, Num

from tvjax.io.encoding import Encoding

# Names of the datasets that change with the type or the scale of the images: counts
# from which a pixel cannot be trusted, bits of a value, and counts for one stored unit.
_LIMITS = (
    "saturation_value",
    "underload_value",
    "countrate_correction_count_cutoff",
)
_BIT_DEPTHS = ("bit_depth_image", "bit_depth_readout")
_SCALES = ("data_scale_factor", "data_scaling_factor")


def _limit(value: Num[ArrayLike, "..."], encoding: Encoding) -> Num[np.ndarray, "..."]:
    value = np.asarray(value)
    stored = encoding.limit(value)
    fits = value.dtype.kind == "f" or np.max(stored) <= np.iinfo(value.dtype).max
    return stored.astype(value.dtype if fits else np.uint32)


def _bit_depth(
    value: Num[ArrayLike, "..."], encoding: Encoding
) -> Num[np.ndarray, "..."]:
    return np.full_like(value, 8 * encoding.dtype.itemsize)


def _scale_factor(
    value: Num[ArrayLike, "..."], encoding: Encoding
) -> Num[np.ndarray, "..."]:
    return np.asarray(value / encoding.scale)


# How each of them is corrected, by its name.
CORRECTIONS: dict[
    str, Callable[[Num[ArrayLike, "..."], Encoding], Num[np.ndarray, "..."]]
] = {
    **dict.fromkeys(_LIMITS, _limit),
    **dict.fromkeys(_BIT_DEPTHS, _bit_depth),
    **dict.fromkeys(_SCALES, _scale_factor),
}
