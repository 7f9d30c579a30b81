"""The errors of reading and writing files, in sentences with a remedy."""

import contextlib
import errno
from collections.abc import Iterator
from pathlib import Path

# Numbers of the errors of a disk that has no more room for this user, and of a folder
# that this user may not write to.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})


class FileError(Exception):
    """A file cannot be read or written: one sentence with the cause and the remedy."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into a `FileError` that names `path`."""
    try:
        yield
    except (FileError, MemoryError):
        raise
    except FileNotFoundError:
        raise FileError(f"{path} does not exist: check the name.") from None
    except IsADirectoryError:
        raise FileError(f"{path} is a folder: name the files in it.") from None
    except PermissionError:
        raise FileError(f"{path} may not be read: change its permissions.") from None
    # Decoders meet a file that ends too early with any exception there is, from
    # AssertionError to zlib.error.
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise FileError(
            f"{path} is truncated or damaged ({reason}): copy it again from its source."
        ) from error


def cannot_write(path: Path, error: OSError) -> FileError:
    """Return the sentence for an `OSError` met while writing `path`."""
    if error.errno in DISK_FULL:
        return FileError(
            f"{path} cannot be written, the disk is full or a quota is reached: "
            "free some space or write to another disk."
        )
    if error.errno in NOT_WRITABLE:
        return FileError(
            f"{path} cannot be written, its folder is read-only: choose another folder."
        )
    reason = error.strerror or str(error)
    return FileError(f"{path} cannot be written ({reason}): choose another output.")
