"""The errors of reading and writing files, in sentences with a remedy."""

import contextlib
import errno
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path

# Numbers of the errors of a disk that has no more room for this user, and of a folder
# that this user may not write to.
DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
NOT_WRITABLE = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})

# Numbers of the errors of a disk or a network that fails.
NOT_ANSWERED = frozenset(
    {
        *(errno.EIO, errno.ESTALE, errno.ENOTCONN, errno.ETIMEDOUT, errno.ENODEV),
        *(errno.EHOSTDOWN, errno.EHOSTUNREACH, errno.ENETDOWN, errno.ENETUNREACH),
        *(errno.ECONNRESET, errno.ECONNABORTED, errno.EREMOTEIO, errno.ENXIO),
    }
)

# What HDF5 says of a lock that it did not get, where there are none, of a file that
# another program writes, and of a filter that it looked for as a plugin.
_LOCK = "unable to lock file"
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
_OPEN_FOR_WRITING = "already open for write"
_NO_FILTER = ("can't open directory", "required filter", "filter plugin")


# Categories of characters that do something: control, format (as to turn the direction
# of writing), and halves of a character, as names that are no Unicode have them.
_COMMANDS = frozenset({"Cc", "Cf", "Cs"})


class FileError(Exception):
    """A file cannot be read or written: one sentence with the cause and the remedy."""

    def __init__(self, sentence: str = "") -> None:
        """Keep the sentence, with names from files as a terminal may show them."""
        super().__init__(printable(sentence).replace("\n", "\\n"))


class NoImages(FileError):
    """A file can be read, and holds no images."""


# What is told where the computer has too little memory.
NO_MEMORY = (
    "There is not enough memory: take fewer frames with --frames, or a computer with "
    "more."
)
NO_MEMORY_OF_JAX = (
    "There is not enough memory for JAX: take fewer frames with --frames, or set "
    "JAX_PLATFORMS=cpu where an accelerator has less than the computer."
)

# How the errors of JAX begin where memory is missing.
_EXHAUSTED = "RESOURCE_EXHAUSTED"


def lacks_memory(error: Exception) -> bool:
    """Return whether an error tells that memory is missing."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and _EXHAUSTED in str(error)
    )


def failure(error: Exception) -> str:
    """Return the sentence about an input of several that failed.

    What no user can mend leaves its trace where the input is denoised alone.
    """
    if isinstance(error, FileError | ValueError):
        return str(error)
    if lacks_memory(error):
        return NO_MEMORY if isinstance(error, MemoryError) else NO_MEMORY_OF_JAX
    return (
        f"tvjax failed ({type(error).__name__}: {error}): denoise this input alone, "
        "and report what that prints."
    )


def printable(text: str) -> str:
    """Return a text of lines without characters that command a terminal.

    Names of files can have any; what is told of them shows which.
    """
    return "".join(
        each
        if each == "\n" or unicodedata.category(each) not in _COMMANDS
        else each.encode("unicode_escape").decode()
        for each in text
    )


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Turn whatever a decoder raises into a `FileError` that names `path`."""
    try:
        check_kind(path)
        yield
    except FileError:
        raise
    # Decoders meet a file that ends too early with any exception there is, from
    # AssertionError to zlib.error.
    except Exception as error:
        raise FileError(f"{path} {_explain(path, error)}") from error


def check_kind(path: Path) -> None:
    """Refuse what may never end, or never begin: a pipe, a socket, a device.

    Raises:
        FileError: It is one of these.
    """
    with contextlib.suppress(OSError):
        mode = path.stat().st_mode
        if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            raise FileError(
                f"{path} is a pipe or a device: write its content to a file first."
            )


def _explain(path: Path, error: Exception) -> str:
    """Return what an exception says of a file, and the remedy."""
    number = getattr(error, "errno", None)
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, MemoryError) or number == errno.ENOMEM:
        return (
            f"asks for more memory than there is ({reason}): use a computer with more, "
            "or copy it again if its frames are small."
        )
    if number == errno.ENOENT or isinstance(error, FileNotFoundError):
        if path.is_symlink():
            return (
                f"is a link to {os.readlink(path)}, which is not there: bring that "
                "file back, or mend the link."
            )
        return "does not exist: check the name."
    if isinstance(error, IsADirectoryError):
        return "is a folder: name the files in it."
    if isinstance(error, PermissionError):
        return "may not be read: change its permissions."
    if _OPEN_FOR_WRITING in reason:
        return (
            "is being written, or was not closed after a crash: wait for its writer, "
            "or mend a copy of it with h5clear -s."
        )
    if number in NOT_ANSWERED:
        return (
            f"cannot be read, its disk or network fails ({os.strerror(number)}): check "
            "the mount, and try again."
        )
    if number in _NO_LOCKS or (_LOCK in reason and number != errno.EAGAIN):
        return (
            "lies on a disk where files cannot be locked: set "
            "HDF5_USE_FILE_LOCKING=FALSE, once nothing writes to it."
        )
    if number == errno.EAGAIN:
        return (
            "is held open by a program that writes to it: wait until that has closed "
            "it, or read a copy."
        )
    if number in (errno.EMFILE, errno.ENFILE):
        return "is one open file too many: raise the limit with ulimit -n."
    if number == errno.ELOOP:
        return "is a link that leads back to itself: mend the link."
    if number in (errno.ENAMETOOLONG, errno.ENOTDIR):
        return f"is no name of a file ({os.strerror(number)}): check the name."
    if any(sign in reason for sign in _NO_FILTER):
        return (
            "is compressed with an HDF5 filter that is missing: run "
            "pip install --upgrade hdf5plugin."
        )
    return f"is truncated or damaged ({reason}): copy it again from its source."


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


def lost(output: Path, difference: str) -> FileError:
    """Return the sentence for an output that does not show what was written to it."""
    return FileError(
        f"{output} does not show what was to be written, and got no name: "
        f"{difference}; check the disk and start again."
    )
