"""Files of weights: numbers with a header, never code.

A file is a safetensors file, whose header has the version of the format, the sizes of
the network, the SHA-256 of the sizes and of all numbers, and where the weights come
from.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import equinox as eqx
import jax
import numpy as np
from jax import numpy as jnp
from jaxtyping import PyTree
from safetensors import safe_open, SafetensorError
from safetensors.numpy import save

from tvjax.io.errors import lost
from tvjax.io.staging import replace_file

Sizes = Mapping[str, Sequence[int]]
Tree = TypeVar("Tree")


class Contents(NamedTuple):
    """What a file holds, proved to be what was written."""

    path: str | os.PathLike[str]
    arrays: dict[str, np.ndarray]
    sizes: dict[str, list[int]]
    facts: dict[str, str]

    def fill(self, build: Callable[[], Tree]) -> Tree:
        """Return the tree that `build` makes, with the numbers of the file in it.

        Args:
            build: Makes a tree of arrays. Only their shapes are computed.

        Raises:
            ValueError: The file has other names or shapes.
        """
        like = eqx.filter_eval_shape(build)
        named = name_leaves(like)
        shapes = {name: leaf.shape for name, leaf in named.items()}
        if {name: array.shape for name, array in self.arrays.items()} != shapes:
            raise _other_architecture(self.path, self.sizes)
        leaves = [
            jnp.asarray(self.arrays[name], leaf.dtype) for name, leaf in named.items()
        ]
        return jax.tree.unflatten(jax.tree.structure(like), leaves)


def write_weights(
    path: str | os.PathLike[str],
    tree: PyTree,
    *,
    version: str,
    sizes: Sizes,
    facts: Mapping[str, str],
    half: bool = True,
) -> None:
    """Write all arrays of a tree at once: an interruption leaves the old file whole.

    The file is read again before it gets its name.

    Args:
        path: Name of a safetensors file.
        tree: Tree of floating-point arrays.
        version: Version of the format.
        sizes: The `widths` and `blocks` that build a tree of these shapes again.
        facts: Where the weights come from, for the header.
        half: Whether to write half precision instead of the precision of the arrays.

    Raises:
        FileError: What was written is not what is read again.
        OSError: The file cannot be written.
    """
    arrays = {
        name: np.asarray(leaf, np.float16 if half else None)
        for name, leaf in name_leaves(tree).items()
    }
    text = json.dumps(sizes)
    own = {"format": version, "sizes": text, "sha256": _digest(arrays, text)}

    def prove(written: Path) -> None:
        try:
            found = read_weights(written, version=version).arrays
        except ValueError as error:
            difference = str(error).replace(str(written), "it")
        else:
            if _digest(found, text) == own["sha256"]:
                return
            difference = "it has other numbers"
        raise lost(Path(path), difference)

    content = save(arrays, metadata=dict(facts) | own)
    replace_file(Path(path), _in_order(content), prove)


def read_weights(path: str | os.PathLike[str], *, version: str) -> Contents:
    """Read what `write_weights` wrote.

    The sizes are lists of whole numbers, one for each resolution of a network, and no
    more than a network of so many arrays can have.

    Args:
        path: Name of a safetensors file.
        version: Version of the format that the caller reads.

    Raises:
        ValueError: The file has another format or version, or it is damaged.
    """
    try:
        with safe_open(path, framework="np") as file:
            facts = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}
    except SafetensorError as error:
        raise ValueError(
            f"{path} holds no weights or is cut short: no whole safetensors file "
            f"({error}); fetch or write it anew."
        ) from error
    if facts.get("format") != version:
        raise ValueError(
            f"{path} says to be {facts.get('format', 'of no format')!r}, but this "
            f"version of tvjax reads {version!r}: train or fetch weights for it."
        )
    text = facts.get("sizes", "")
    if facts.get("sha256") != _digest(arrays, text) or not all(
        np.all(np.isfinite(array)) for array in arrays.values()
    ):
        raise ValueError(
            f"{path} is damaged, its numbers are not those that were written "
            "(SHA-256 differs, or they are not finite): fetch or write it anew."
        )
    return Contents(path, arrays, _parse_sizes(path, text, len(arrays)), facts)


def name_leaves(tree: PyTree) -> dict[str, Any]:
    """The arrays of a tree by the names they have in a file, in the tree's order."""
    leaves, _ = jax.tree.flatten_with_path(tree)
    return {
        jax.tree_util.keystr(path, simple=True, separator="."): leaf
        for path, leaf in leaves
    }


def _in_order(content: bytes) -> bytes:
    """The same safetensors file with the facts of its header in alphabetic order.

    The library leaves their order to chance, and equal weights would differ.
    """
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.loads(content[8:start])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers are aligned
    return len(text).to_bytes(8, "little") + text + content[start:]


def _parse_sizes(
    path: str | os.PathLike[str], text: str, num_arrays: int
) -> dict[str, list[int]]:
    """Read the sizes, and refuse those that would take for ever to build."""
    try:
        sizes = json.loads(text)
        fair = set(sizes) == {"widths", "blocks"} and all(
            isinstance(size, int) and 0 < size < 2**16
            for level in sizes.values()
            for size in level
        )
        if fair and 0 < len(sizes["widths"]) == len(sizes["blocks"]):
            if sum(sizes["blocks"]) <= num_arrays:
                return sizes
    except (TypeError, ValueError, AttributeError):
        pass
    raise _other_architecture(path, text)


def _other_architecture(path: str | os.PathLike[str], sizes: str | Sizes) -> ValueError:
    return ValueError(
        f"{path} holds the weights of another architecture than its header says, "
        f"{sizes}: fetch or write it anew."
    )


def _digest(arrays: Mapping[str, np.ndarray], sizes: str) -> str:
    """SHA-256 of the sizes and of all numbers, in the order of their names."""
    digest = hashlib.sha256(sizes.encode())
    for name in sorted(arrays):
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()
