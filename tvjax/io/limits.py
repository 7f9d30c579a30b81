"""How much memory files may ask for, before it is asked for."""

import math
import os
import resource
from collections.abc import Sequence
from pathlib import Path

from tvjax.io.errors import FileError

# The least that denoising takes for a pixel: the image, its mask, its dual field.
BYTES_PER_PIXEL = 32

# More frames than any scan has, whose places would fill the memory.
MOST_FRAMES = 2**24

# Bytes that what stands beside the images may take: a mask for each of many frames is
# read one by one, and a list has one number a frame.
MOST_BESIDE = 2**31

# Bytes that a header may have.
MOST_TEXT = 2**24


def check_images(path: Path, name: str, num_frames: int, shape: Sequence[int]) -> None:
    """Refuse frames that no computer of this size can hold.

    Args:
        path: The file.
        name: What of it claims them, for the sentence.
        num_frames: How many there are.
        shape: Rows and columns.

    Raises:
        FileError: One takes more memory than there is, or there are too many.
    """
    sizes = " x ".join(map(str, shape))
    if num_frames > MOST_FRAMES:
        raise FileError(
            f"{path} claims {num_frames} frames of {sizes}{name}, more than any scan "
            "has: copy it again from its source, or split it."
        )
    needed = math.prod(shape) * BYTES_PER_PIXEL
    if needed > memory():
        raise FileError(
            f"{path} claims frames of {sizes}{name}, of which one takes "
            f"{needed / 1e9:.3g} GB of memory: copy it again from its source if they "
            "are smaller, else use a computer with more memory."
        )


def check_beside(path: Path, name: str, size: int) -> None:
    """Refuse what stands beside images and is too large to be read.

    Args:
        path: The file.
        name: Its path in the file.
        size: Bytes that it takes.

    Raises:
        FileError: It takes more than there is room for.
    """
    if size > min(MOST_BESIDE, memory()):
        raise FileError(
            f"{path} claims {size / 1e9:.3g} GB of values at {name}: copy it again "
            "from its source, or remove them."
        )


def memory() -> int:
    """Return the bytes of memory that this process may have."""
    limits = [os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")]
    limits.append(resource.getrlimit(resource.RLIMIT_AS)[0])
    limits.append(resource.getrlimit(resource.RLIMIT_DATA)[0])
    return min(limit for limit in limits if limit != resource.RLIM_INFINITY)
