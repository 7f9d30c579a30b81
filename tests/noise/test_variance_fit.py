import numpy as np
import pytest

from tvjax.noise.floor import Floors
from tvjax.noise.variance_fit import (
    agreement,
    constant,
    counts,
    Law,
    line,
    misfit_of,
    square,
)

MEAN = np.linspace(10, 200, 16)
LAWS = {
    "constant": (constant, Law(25, 0, 0, 0)),
    "counts": (counts, Law(0, 1.5, 0, 0)),
    "square": (square, Law(0, 0, 0.01, 0)),
    "line": (line, Law(9, 2, 0, 0)),
    "pedestal": (line, Law(-8, 2, 0, 0)),
}


def floors(variance, error=0.03, mean=MEAN):
    ones = np.ones_like(mean)
    return Floors(mean, np.asarray(variance, float), error * ones, ones, ones, ones)


@pytest.mark.parametrize("name", LAWS)
def test_an_exact_law_is_found_exactly(name):
    fit, law = LAWS[name]
    found = fit(floors(law.variance(MEAN)))
    np.testing.assert_allclose(found[:3], law[:3], rtol=1e-6, atol=1e-6)
    assert found.misfit == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("name", LAWS)
def test_structure_above_a_law_does_not_move_it(name):
    fit, law = LAWS[name]
    chance = 1 + 0.03 * np.random.default_rng(0).normal(size=16)
    variance = law.variance(MEAN) * chance
    variance[[2, 5, 6, 9, 13]] *= [2, 5, 1.6, 3, 10]
    found = fit(floors(variance))
    # eleven floors of 3 % are left
    np.testing.assert_allclose(found.variance(MEAN), law.variance(MEAN), rtol=0.08)


def test_most_floors_may_be_structure_as_long_as_some_agree():
    variance = 25 * np.linspace(1.5, 4, 16)
    variance[[1, 4, 8, 11, 15]] = 25
    assert constant(floors(variance)).a == pytest.approx(25, rel=0.02)


def test_the_right_law_has_the_least_misfit():
    for name in ("constant", "counts", "square"):
        variance = LAWS[name][1].variance(MEAN)
        data = floors(variance * (1 + 0.03 * np.random.default_rng(1).normal(size=16)))
        misfits = {other: LAWS[other][0](data).misfit for other in LAWS}
        assert misfits[name] < 25  # 16 squares of about one
        for other in {"constant", "counts", "square"} - {name}:
            assert misfits[other] > misfits[name] + 15


def test_a_given_slope_is_kept():
    found = line(floors(MEAN - 8), slope=1.0)
    assert found.b == 1 and found.a == pytest.approx(-8)


def test_one_floor_has_a_level_and_none_has_nothing():
    single = floors([4.0], mean=np.asarray([2.0]))
    assert constant(single).a == 4 and counts(single).b == 2 and square(single).c == 1
    assert line(single)[:2] == (4, 0)
    none = floors([], mean=np.asarray([]))
    assert constant(none).misfit == np.inf and line(none).misfit == np.inf


def test_agreement_counts_what_is_near_and_what_is_below():
    variance = np.where(np.arange(16) < 4, 1.0, 3.0)
    variance[15] = 0.5
    near, below = agreement(floors(variance), Law(1, 0, 0, 0))
    assert near == 4 / 16 and below == 1 / 16


def test_misfit_of_structure_is_bounded_and_of_what_lies_below_is_not():
    above = misfit_of(floors(np.full(16, 1e9)), Law(1, 0, 0, 0))
    below = misfit_of(floors(np.full(16, 0.5)), Law(1, 0, 0, 0))
    assert above == 16 * 4 and below > 10 * above
