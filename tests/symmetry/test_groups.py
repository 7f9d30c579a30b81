import itertools

import numpy as np
import pytest

from tvjax.symmetry import find_group, GROUPS

ORDERS = {"friedel": 2, "mirror-x": 2, "mirror-y": 2, "2mm": 4, "3": 3, "3m": 6}
ORDERS |= {"4": 4, "4mm": 8, "6": 6, "6mm": 12}


@pytest.mark.parametrize("name", ORDERS)
def test_operations_form_a_group(name):
    group = find_group(name)
    assert group.order == ORDERS[name] == len(set(group.operations))
    np.testing.assert_array_equal(group.operations[0].matrix, np.eye(2))
    known = np.stack([operation.matrix for operation in group.operations])
    for a, b in itertools.product(known, known):
        assert np.abs(known - a @ b).max((1, 2)).min() < 1e-12


def test_every_group_of_even_rotations_contains_the_two_fold_one():
    friedel = find_group("friedel")
    holders = {name for name in GROUPS if find_group(name).contains(friedel)}
    assert holders == {"friedel", "2mm", "4", "4mm", "6", "6mm", "azimuthal"}


def test_unknown_name_lists_the_known_ones():
    with pytest.raises(ValueError, match=r"must be one of .*'azimuthal'.*got '5'"):
        find_group("5")


def test_a_mirror_fixes_one_axis_of_its_centre():
    free = {name for name in GROUPS if not all(find_group(name).fixed_axes)}
    assert free == {"mirror-x", "mirror-y"}
    assert find_group("mirror-x").fixed_axes == (False, True)
    assert find_group("mirror-y").fixed_axes == (True, False)
