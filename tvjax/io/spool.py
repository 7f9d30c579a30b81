"""Images that are kept on the disk until they can be written where they belong."""

import secrets
from pathlib import Path

import h5py
import hdf5plugin
import numpy as np
from jaxtyping import Num

from tvjax.io.errors import cannot_write
from tvjax.io.staging import OutputFile, unfinished_name


class Spool:
    """Images of one shape, in a file without a name that goes with the program."""

    def __init__(self, beside: Path, shape: tuple[int, int]) -> None:
        """Open a file in a folder that has room for the output.

        Args:
            beside: The output.
            shape: Rows and columns of an image.

        Raises:
            FileError: The folder cannot be written.
        """
        path = unfinished_name(beside, secrets.token_hex(8))
        self._beside = beside
        try:
            beside.parent.mkdir(parents=True, exist_ok=True)
            self._content = OutputFile(path)
            path.unlink()
        except OSError as error:
            raise cannot_write(beside, error) from error
        self._file = h5py.File(self._content, "w")
        self._images = self._file.create_dataset(
            "images",
            (0, *shape),
            np.float32,
            maxshape=(None, *shape),
            chunks=(1, *shape),
            **hdf5plugin.Bitshuffle(cname="lz4"),
        )

    def append(self, image: Num[np.ndarray, "height width"]) -> None:
        """Keep the next image.

        Raises:
            FileError: The disk is full, or cannot be written for another reason.
        """
        index = len(self._images)
        self._images.resize(index + 1, axis=0)
        self._images[index] = image
        self._file.flush()
        if self._content.error is not None:
            raise cannot_write(self._beside, self._content.error)

    def __getitem__(self, index: int) -> Num[np.ndarray, "height width"]:
        """Return an image."""
        return self._images[index]

    def close(self) -> None:
        """Let the file go."""
        self._file.close()
        self._content.close()
