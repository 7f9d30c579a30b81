import itertools

import numpy as np
import pytest

from tests.xanes.edges import (
    ENERGIES,
    fit_references,
    references,
)
from tvjax.xanes import choose_energies, expected_errors


def volume(columns):
    return -np.linalg.slogdet(columns @ columns.T)[1]


def total_variance(columns):
    return np.trace(np.linalg.inv(columns @ columns.T))


@pytest.mark.parametrize(
    ("criterion", "loss"), [("A", total_variance), ("D", volume)], ids=["A", "D"]
)
def test_chosen_energies_are_the_best_of_all_choices(criterion, loss):
    for seed in range(5):
        columns = np.abs(np.random.default_rng(seed).normal(size=(3, 14)))
        found = choose_energies(columns, np.arange(14.0), 5, criterion=criterion)
        subsets = map(list, itertools.combinations(range(14), 5))
        best = min(loss(columns[:, subset]) for subset in subsets)
        assert np.all(np.diff(found.indices) > 0)
        # exchanges end in a local optimum: within two percent of the best
        assert loss(columns[:, found.indices]) <= best + 0.02 * abs(best)


def test_errors_of_a_design_are_those_of_a_fit_at_its_energies(double):
    for sum_to_one in (False, True):
        design = choose_energies(references(), ENERGIES, 3, sum_to_one=sum_to_one)
        np.testing.assert_array_equal(design.energies, ENERGIES[design.indices])
        columns = references()[:, design.indices]
        inverse = np.linalg.inv(columns @ columns.T)
        if sum_to_one:
            gain = inverse.sum(1)
            inverse = inverse - np.outer(gain, gain) / gain.sum()
        np.testing.assert_allclose(design.errors**2, np.diag(inverse), rtol=1e-10)
    fit = fit_references(columns[0], columns, sum_to_one=True, sigma=1.0)
    np.testing.assert_allclose(fit.errors, design.errors, rtol=1e-10)
    np.testing.assert_allclose(
        expected_errors(references(), np.repeat(design.indices, 4), 2.0),
        expected_errors(references(), design.indices),
        rtol=1e-10,
    )


def test_chosen_energies_keep_their_distance():
    design = choose_energies(references(), ENERGIES, 5, spacing=3.0)
    assert np.diff(design.energies).min() >= 3
    crowded = choose_energies(references(), ENERGIES, 5)
    assert np.diff(crowded.energies).min() < 3
    assert np.sum(crowded.errors**2) < np.sum(design.errors**2)


def test_what_cannot_be_designed_is_refused():
    for options, message in (
        ({"num_energies": 2}, "`num_energies` must lie between 3 and 84, got 2"),
        ({"num_energies": 85}, "between 3 and 84, got 85"),
        ({"num_energies": 5, "spacing": 200}, "`spacing` of 200 eV leaves room for"),
        ({"num_energies": 5, "criterion": "E"}, "must be 'A' or 'D', got 'E'"),
    ):
        with pytest.raises(ValueError, match=message):
            choose_energies(references(), ENERGIES, **options)
    with pytest.raises(ValueError, match="mixtures of each other at these 2 energies"):
        expected_errors(references(), [0, 1])
