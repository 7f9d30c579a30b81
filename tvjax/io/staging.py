"""Output files that appear under their names only when they are complete.

Two runs cannot mix: names before the end are drawn at random and created by one run
alone, and a lock beside the output refuses a second run while the first one lasts.
"""

import contextlib
import errno
import fcntl
import io
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import TracebackType

from tvjax.io.errors import cannot_write, FileError
from tvjax.io.file_names import unnumbered_stem

# Errors of file systems that have no locks, and of those that have no hard links.
NO_LOCKS = frozenset(
    {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EINVAL}
)
_NO_LINKS = frozenset(
    {errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK}
)

_TOKEN = re.compile(rb"[0-9a-f]{16}")

# What is laid in the place of a file to be created is neither followed nor opened.
_ALONE = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class Claim:
    """The right to write one output, for one run at a time.

    It is held by a lock on a hidden file beside the output, which the system drops when
    the program ends in whatever way. The file names the run, so that the next one knows
    what a crash has left. Where the file system has no locks, the file itself is the
    lock, and has to be removed by hand after a crash.

    Attributes:
        token: Random part of the names of the run's unfinished files.
    """

    def __init__(self, output: Path) -> None:
        """Claim `output`, with all that is written beside it.

        Raises:
            FileError: Another run has it, or its folder cannot be written.
        """
        self.token = secrets.token_hex(8)
        self._output = output
        self._file = hidden_file(output, "lock")
        try:
            output.parent.mkdir(parents=True, exist_ok=True)
            self._descriptor = self._acquire()
            self._sweep()
            os.ftruncate(self._descriptor, 0)
            os.pwrite(self._descriptor, self.token.encode(), 0)
        except OSError as error:
            raise cannot_write(output, error) from error

    def __enter__(self) -> "Claim":
        """Return the claim, which the end of the block gives up."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Let others write the output."""
        self.release()

    def release(self) -> None:
        """Let others write the output."""
        if self._descriptor >= 0:
            # while the lock is held: whoever waits for it finds that it is gone
            self._file.unlink(missing_ok=True)
            os.close(self._descriptor)
            self._descriptor = -1

    def _acquire(self) -> int:
        """Return the descriptor of the lock."""
        while True:
            descriptor, created = self._open()
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                if _identity(self._file) == _identity(descriptor):
                    return descriptor
                os.close(descriptor)  # the run before removed it in the meantime
            except BlockingIOError:
                os.close(descriptor)
                raise FileError(
                    f"{self._output} is being written by another run: wait for its "
                    "end, or choose another name."
                ) from None
            except OSError as error:
                if created and error.errno in NO_LOCKS:
                    return descriptor
                os.close(descriptor)
                if error.errno in NO_LOCKS:
                    raise FileError(
                        f"{self._output} may be being written by another run, since "
                        f"{self._file} is there: remove it if there is none."
                    ) from error
                raise

    def _open(self) -> tuple[int, bool]:
        """Return a descriptor of the lock's file, and whether it is new."""
        with contextlib.suppress(FileExistsError):
            return os.open(self._file, _ALONE, 0o666), True
        try:
            flags = os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC
            return os.open(self._file, flags), False
        except FileNotFoundError:
            return self._open()  # removed in the meantime
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise FileError(
                f"{self._file} is a symbolic link in the place of a lock: remove it."
            ) from error

    def _sweep(self) -> None:
        """Remove what a run that crashed has left of this output."""
        token = os.pread(self._descriptor, 64, 0)
        if _TOKEN.fullmatch(token):
            for left in self._output.parent.glob(f".*.{token.decode()}.partial"):
                if left.is_dir() and not left.is_symlink():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink(missing_ok=True)


class OutputFile(io.RawIOBase):
    """A binary file under a temporary name that remembers its first failed write.

    HDF5 cannot close a file that it failed to write, and crashes the interpreter at
    its exit. Hence a failure is kept instead of raised, what follows is held in memory
    for HDF5 to read back, and `Staging.check` raises it after the frame.
    """

    def __init__(self, path: Path) -> None:
        """Create the file `path`, which must not be there."""
        try:
            self._file = os.fdopen(os.open(path, _ALONE, 0o666), "r+b", buffering=0)
        except OSError:
            super().close()  # else the end of this object would close what is not there
            raise
        self._unwritten: list[tuple[int, bytes]] = []
        self.error: OSError | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        """Move to a place, and return it."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the place of the next byte."""
        return self._file.tell()

    # h5py passes buffers of a class of its own, and Python 3.11 has no name for all
    def readinto(self, buffer, /) -> int:  # noqa: ANN001
        """Fill `buffer` with what was written, on the disk or not."""
        target = memoryview(buffer).cast("B")
        place = self.tell()
        size = self._file.readinto(target)
        for start, content in self._unwritten:
            first = max(start, place)
            last = min(start + len(content), place + len(target))
            if first < last:
                part = content[first - start : last - start]
                target[first - place : last - place] = part
                size = max(size, last - place)
        return size

    def write(self, data, /) -> int:  # noqa: ANN001, as above
        """Write all of `data`, or keep it with what went wrong."""
        content = memoryview(data).cast("B")
        written = 0
        while self.error is None and written < len(content):
            try:
                written += self._file.write(content[written:])
            except OSError as error:
                self.error = error
        if self.error is not None:
            self._unwritten.append((self.tell(), bytes(content[written:])))
            self.seek(len(content) - written, os.SEEK_CUR)
        return len(content)

    def truncate(self, size: int | None = None, /) -> int:
        """Change the size of the file, or keep what went wrong."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self.error = self.error or error
            return self._file.tell()

    def close(self) -> None:
        """Close the file, or keep what went wrong."""
        if not self.closed:
            # A network disk reports that it is full only here.
            try:
                os.fsync(self._file.fileno())
            except OSError as error:
                self.error = self.error or error
            self._file.close()
        super().close()


class Staging:
    """Files that get their final names together, or not at all."""

    def __init__(
        self, output: Path, *, protected: Iterable[Path], overwrite: bool
    ) -> None:
        """Stage the files of an output beside `protected` ones, never replaced.

        Args:
            output: What the user calls the output; no other run writes it meanwhile.
            protected: Files that must survive: all that is read.
            overwrite: Whether files of an earlier run may be replaced.
        """
        self._output = output
        self._claim: Claim | None = None
        protected = list(protected)
        self._protected = {path.resolve() for path in protected}
        self._inodes = {_identity(path) for path in protected} - {None}
        self._overwrite = overwrite
        self._staged: dict[Path, OutputFile] = {}

    def __enter__(self) -> "Staging":
        """Return the staging, whose files go at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        trace: TracebackType | None = None,
    ) -> None:
        """Remove what was not committed."""
        self.discard()

    def refuse(self, paths: Iterable[Path]) -> None:
        """Raise `FileError` if writing any of `paths` would destroy something."""
        for path in paths:
            if path.resolve() in self._protected or _identity(path) in self._inodes:
                raise FileError(
                    f"{path} is part of the input and would be lost: "
                    "write to another folder or name."
                )
            if os.path.lexists(path) and not self._overwrite:
                raise _exists(path)
            if path.is_dir():
                raise FileError(f"{path} is a folder: name a file in it.")

    def claim(self) -> str:
        """Keep other runs from the output; return the token of this one.

        Raises:
            FileError: Another run writes it, or its folder cannot be written.
        """
        if self._claim is None:
            self._claim = Claim(self._output)
        return self._claim.token

    def open(self, path: Path) -> OutputFile:
        """Open what will become `path`; the file opened first is renamed last."""
        self.refuse([path])
        if path in self._staged:
            raise FileError(f"{path} is the name of two outputs: choose another name.")
        token = self.claim()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = OutputFile(unfinished_name(path, token))
        except OSError as error:
            raise cannot_write(path, error) from error
        self._staged[path] = file
        return file

    def check(self) -> None:
        """Raise the first failure of any write so far as `FileError`."""
        for path, file in self._staged.items():
            if file.error is not None:
                raise cannot_write(path, file.error) from file.error

    @contextlib.contextmanager
    def shown(self) -> Iterator[Callable[[Path], Path]]:
        """Show the files under their final names in a hidden folder, beside each other.

        Links between them lead where they will, and links elsewhere too: HDF5 looks
        for those also in the folder of the file that a symbolic link leads to.
        """
        token = self.claim()
        beside = self._output.parent
        folder = unfinished_name(beside / f"{self._output.name}.proof", token)
        moved: list[tuple[Path, Path]] = []

        def place(path: Path) -> Path:
            inner = os.path.relpath(path, beside)
            return (
                unfinished_name(path, token) if _is_outside(inner) else folder / inner
            )

        try:
            folder.mkdir()
            for path in self._staged:
                file, shown = unfinished_name(path, token), place(path)
                if shown == file:
                    continue
                shown.parent.mkdir(parents=True, exist_ok=True)
                try:
                    shown.symlink_to(os.path.abspath(file))
                except OSError as error:
                    if error.errno not in _NO_LINKS:
                        raise
                    os.rename(file, shown)
                    moved.append((shown, file))
            yield place
        except OSError as error:
            raise cannot_write(self._output, error) from error
        finally:
            for shown, file in moved:
                os.rename(shown, file)
            shutil.rmtree(folder, ignore_errors=True)

    def commit(
        self, prove: Callable[[Callable[[Path], Path]], None] | None = None
    ) -> None:
        """Give every file its final name, in the reverse of the order of opening.

        Args:
            prove: Raises where the files are not what they should be, told where each
                lies under its final name.
        """
        for file in self._staged.values():
            file.close()
        self.check()
        if prove is not None:
            with self.shown() as shown:
                prove(shown)
        token = self.claim()
        named = []
        try:
            for path in reversed(list(self._staged)):
                try:
                    _name(unfinished_name(path, token), path, self._overwrite)
                except OSError as error:
                    raise cannot_write(path, error) from error
                del self._staged[path]
                named.append(path)
        except BaseException:
            if not self._overwrite:  # else they have replaced others
                for path in named:
                    path.unlink(missing_ok=True)
            raise
        self.discard()

    def discard(self) -> None:
        """Remove every file that has no final name yet, and let others write."""
        for path, file in self._staged.items():
            file.close()
            unfinished_name(path, self.claim()).unlink(missing_ok=True)
        self._staged.clear()
        if self._claim is not None:
            self._claim.release()
            self._claim = None


def replace_file(
    path: Path, content: bytes, prove: Callable[[Path], None] | None = None
) -> None:
    """Replace a file at once by another, of which nobody sees a part.

    Args:
        path: Its name.
        content: What it will hold.
        prove: Raises where the new file, told by its name before the end, is not what
            it should be.
    """
    unfinished = unfinished_name(path, secrets.token_hex(8))
    file = OutputFile(unfinished)
    try:
        with file:
            file.write(content)
        if file.error is not None:
            raise file.error
        if prove is not None:
            prove(unfinished)
        os.replace(unfinished, path)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise


def _name(unfinished: Path, path: Path, overwrite: bool) -> None:
    """Give a file its final name; no other file that has it goes, unless told."""
    if not overwrite:
        try:
            os.link(unfinished, path)
        except FileExistsError:
            raise _exists(path) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
            if os.path.lexists(path):
                raise _exists(path) from None
        else:
            unfinished.unlink()
            return
    os.replace(unfinished, path)


def _is_outside(inner: str) -> bool:
    """Return whether a relative path leads out of the folder that it is relative to."""
    return Path(inner).is_absolute() or Path(inner).parts[0] == os.pardir


def _exists(path: Path) -> FileError:
    return FileError(f"{path} exists: choose another name or pass --overwrite.")


def hidden_file(output: Path, kind: str) -> Path:
    """Return the name beside an output of what a run holds or keeps for itself.

    It is one for outputs that write the same files: `x.cbf` and `x_####.cbf` do, as do
    `x.h5` and `x_master.h5`.
    """
    stem = unnumbered_stem(output).removesuffix("_master")
    return output.with_name(f".{stem}{output.suffix}.{kind}")


def unfinished_name(path: Path, token: str) -> Path:
    """Return the name that a run with this token gives `path` before the end."""
    return path.with_name(f".{path.name}.{token}.partial")


def _identity(file: Path | int) -> tuple[int, int] | None:
    """Return what distinguishes a file from all others, None where there is none."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return found.st_dev, found.st_ino
