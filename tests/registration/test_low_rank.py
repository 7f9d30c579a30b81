import numpy as np
import pytest

from tests.registration.scenes import rms, simulated_edge
from tvjax.registration import (
    align,
    register,
    Registration,
    remaining_shifts,
    shift_bound,
)

SCENE, STACK = np.zeros((16, 16)), np.zeros((3, 16, 16))


def truncated(stack, mask, rank):
    """Images and spectra of the best stack of this rank."""
    spectra, values, pixels = np.linalg.svd(stack[:, mask], full_matrices=False)
    images = np.zeros((rank, *mask.shape))
    images[:, mask] = values[:rank, None] * pixels[:rank]
    return images, spectra[:, :rank].T


@pytest.mark.slow
def test_low_rank_finds_what_changing_contrast_hid():
    stack, shifts = simulated_edge(4, sigma=1e-3)
    found = register(stack)
    aligned = align(stack, found)
    mask = np.asarray(aligned.common)
    images, spectra = truncated(np.asarray(aligned.stack), mask, 2)
    step = remaining_shifts(aligned.stack, images, spectra, mask=mask)
    np.testing.assert_allclose(step.mean(0), 0, atol=1e-12)
    # measured: 0.06 before, 0.007 after, of which interpolation is 0.005
    assert rms(found.shifts, shifts) > 0.04
    assert rms(np.asarray(found.shifts) + step, shifts) < 0.015


def test_a_frame_without_contrast_is_left_and_spoils_no_other():
    stack, shifts = simulated_edge(4, sigma=1e-3)
    aligned = align(stack, Registration(shifts, np.ones(40), None))
    mask = np.asarray(aligned.common)
    blank = np.asarray(aligned.stack).copy()
    blank[17] = 0
    step = remaining_shifts(blank, *truncated(blank, mask, 2), mask=mask)
    assert np.abs(step).max() < 0.02  # the interpolation, as above


def test_the_bound_of_a_gaussian_is_its_closed_form():
    y, x = np.indices((48, 48)) - 23.5
    blob = np.exp(-(y**2 + x**2) / (2 * 4**2))
    gains, sigma = np.asarray([1.0, 2.0, 0.0]), np.asarray([0.1, 0.1, 1.0])
    found = shift_bound(blob[None], gains[None], sigma=sigma)
    # the integral of (∂ᵧ e^(−r²/2w²))² is π/2 whatever w
    expected = np.asarray([0.1, 0.05, np.inf]) / np.sqrt(np.pi / 2)
    # float32; differences of eighth order are exact here
    np.testing.assert_allclose(found, expected[:, None].repeat(2, 1), rtol=1e-5)


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda: remaining_shifts(STACK, STACK, SCENE), "`spectra` and `sigma` must"),
        (lambda: remaining_shifts(SCENE, STACK, SCENE), "`y` must have the axes"),
        (lambda: shift_bound(STACK, SCENE), r"to fit the stack, got \(3, 16, 16\)"),
    ],
)
def test_what_does_not_fit_is_refused(misuse, message):
    with pytest.raises(ValueError, match=message):
        misuse()
