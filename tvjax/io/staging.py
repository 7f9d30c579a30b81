"""Output files that appear under their names only when they are complete."""

import io
import os
from pathlib import Path
from types import TracebackType

from tvjax.io.errors import cannot_write, FileError


class OutputFile(io.RawIOBase):
    """A binary file under a temporary name that remembers its first failed write.

    HDF5 cannot close a file that it failed to write, and crashes the interpreter at
    its exit. Hence a failure is kept instead of raised, what follows is held in memory
    for HDF5 to read back, and `Staging.check` raises it after the frame.
    """

    def __init__(self, path: Path) -> None:
        """Create the file `path`, replacing what an earlier crash may have left."""
        try:
            self._file = path.open("w+b", buffering=0)
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

    def __init__(self, *, protected: tuple[Path, ...], overwrite: bool) -> None:
        """Stage files beside `protected` ones, which are never replaced.

        Args:
            protected: Files that must survive: the input.
            overwrite: Whether files of an earlier run may be replaced.
        """
        self._protected = {path.resolve() for path in protected}
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

    def refuse(self, paths: list[Path]) -> None:
        """Raise `FileError` if writing any of `paths` would destroy something."""
        for path in paths:
            if path.resolve() in self._protected:
                raise FileError(
                    f"{path} is part of the input and would be lost: "
                    "write to another folder or name."
                )
            if path.exists() and not self._overwrite:
                raise FileError(
                    f"{path} exists: choose another name or pass --overwrite."
                )
            if path.is_dir():
                raise FileError(f"{path} is a folder: name a file in it.")

    def open(self, path: Path) -> OutputFile:
        """Open what will become `path`; the file opened first is renamed last."""
        self.refuse([path])
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = OutputFile(_partial(path))
        except OSError as error:
            raise cannot_write(path, error) from error
        self._staged[path] = file
        return file

    def check(self) -> None:
        """Raise the first failure of any write so far as `FileError`."""
        for path, file in self._staged.items():
            if file.error is not None:
                raise cannot_write(path, file.error) from file.error

    def commit(self) -> None:
        """Give every file its final name, in the reverse of the order of opening."""
        for file in self._staged.values():
            file.close()
        self.check()
        for path in reversed(list(self._staged)):
            try:
                os.replace(_partial(path), path)
            except OSError as error:
                raise cannot_write(path, error) from error
            del self._staged[path]

    def discard(self) -> None:
        """Remove every file that has no final name yet."""
        for path, file in self._staged.items():
            file.close()
            _partial(path).unlink(missing_ok=True)
        self._staged.clear()


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")
