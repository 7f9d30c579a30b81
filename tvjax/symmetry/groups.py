"""Which operations leave a pattern as it is?

An operation is an orthogonal 2 × 2 matrix that acts on offsets (y, x) from the beam
centre. A group holds every product of its operations, the identity first.
"""

import math
from dataclasses import dataclass
from functools import cache
from typing import TypeAlias

import numpy as np
from jaxtyping import Float

Row: TypeAlias = tuple[float, float]


@dataclass(frozen=True)
class Operation:
    """An orthogonal matrix on offsets (y, x) from the beam centre, row by row."""

    rows: tuple[Row, Row]

    @property
    def matrix(self) -> Float[np.ndarray, "2 2"]:
        """The same as an array."""
        return np.asarray(self.rows)

    @property
    def turns_pixels_onto_pixels(self) -> bool:
        """Is every entry −1, 0 or 1: a flip, or a turn by a right angle?"""
        return all(entry == round(entry) for row in self.rows for entry in row)


@dataclass(frozen=True)
class Group:
    """A point group of the plane.

    Attributes:
        name: As `find_group` knows it.
        operations: All of them, the identity first; of "azimuthal" the identity alone.
        continuous: Whether every rotation belongs to it: a pattern of rings.
    """

    name: str
    operations: tuple[Operation, ...]
    continuous: bool = False

    @property
    def order(self) -> float:
        """The number of operations; infinite for rings."""
        return math.inf if self.continuous else len(self.operations)

    def contains(self, other: "Group") -> bool:
        """Is every operation of the other one of this group's?"""
        if self.continuous:
            return True
        return not other.continuous and set(other.operations) <= set(self.operations)


IDENTITY = Operation(((1.0, 0.0), (0.0, 1.0)))
# x → −x; its mirror line runs along y
MIRROR_X = Operation(((1.0, 0.0), (0.0, -1.0)))
MIRROR_Y = Operation(((-1.0, 0.0), (0.0, 1.0)))

# the order of the rotation, and the mirror beside it
_GENERATORS: dict[str, tuple[int, Operation | None]] = {
    "friedel": (2, None),
    "mirror-x": (1, MIRROR_X),
    "mirror-y": (1, MIRROR_Y),
    "2mm": (2, MIRROR_X),
    "3": (3, None),
    "3m": (3, MIRROR_X),
    "4": (4, None),
    "4mm": (4, MIRROR_X),
    "6": (6, None),
    "6mm": (6, MIRROR_X),
}

TRIVIAL = Group("none", (IDENTITY,))

GROUPS = (*_GENERATORS, "azimuthal")


@cache
def find_group(name: str) -> Group:
    """The group of a name.

    "friedel" is the two-fold rotation, I(q) = I(−q); "mirror-x" takes x to −x and
    "mirror-y" y to −y; "2mm" has both; "3", "4", "6" are rotations, with a mirror x →
    −x in "3m", "4mm", "6mm"; "azimuthal" is every rotation: powder rings, isotropic
    small-angle scattering.

    Raises:
        ValueError: For a name that is none of these.
    """
    if name == "azimuthal":
        return Group(name, (IDENTITY,), continuous=True)
    if name not in _GENERATORS:
        raise ValueError(f"`group` must be one of {GROUPS}, got {name!r}.")
    fold, mirror = _GENERATORS[name]
    turns = [_rotation(turn, fold) for turn in range(fold)]
    reflections = [] if mirror is None else [_product(t, mirror) for t in turns]
    return Group(name, (*turns, *reflections))


def _rotation(turn: int, fold: int) -> Operation:
    angle = 2 * math.pi * turn / fold
    return _operation(
        np.asarray(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
    )


def _product(left: Operation, right: Operation) -> Operation:
    return _operation(left.matrix @ right.matrix)


def _operation(matrix: Float[np.ndarray, "2 2"]) -> Operation:
    """Rounded, so that equal operations are equal and right angles are exact."""
    first, second = (np.round(matrix, 15) + 0.0).tolist()  # no negative zeros
    return Operation((tuple(first), tuple(second)))
