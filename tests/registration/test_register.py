"""Displacements that are known are found, and undone without inventing anything."""

import numpy as np
import pytest

from tests.registration.scenes import band_limited, edge_stack, rms, simulated_edge
from tvjax.registration import (
    align,
    estimate_shift,
    register,
    register_to,
    Registration,
)

SCENE, STACK = np.zeros((16, 16)), np.zeros((3, 16, 16))
AT_REST = Registration(np.zeros((3, 2)), np.ones(3), np.ones((16, 16), bool))


@pytest.fixture(scope="module")
def jittered():
    """Frames, where they are, and where they were found."""
    stack, shifts = edge_stack(4)
    return stack, shifts, register(stack)


@pytest.mark.parametrize("jitter", [2, 6])
def test_jitter_is_found_while_the_contrast_changes(jitter):
    stack, shifts = edge_stack(jitter)
    found = register(stack)
    # measured: 0.08, of which 0.06 stays without noise, since where grains overlap
    # and change, the edges between them do move
    assert rms(found.shifts, shifts) < 0.1
    np.testing.assert_allclose(found.shifts.mean(0), 0, atol=1e-4)  # float32
    assert found.confidence.min() > 0.3


@pytest.mark.parametrize("reference", ["mean", -3])
def test_any_reference_leads_to_the_same_shifts(reference):
    stack, shifts = edge_stack(4)
    found = register(stack, reference=reference)
    assert rms(found.shifts, shifts) < 0.1
    origin = found.shifts[-3] if reference == -3 else found.shifts.mean(0)
    np.testing.assert_allclose(origin, 0, atol=1e-4)  # float32


def test_pairs_alone_do_not_drift():
    stack, shifts = edge_stack(4)
    assert rms(register(stack, num_rounds=0).shifts, shifts) < 0.1


def test_a_frame_without_contrast_stays_and_spoils_no_other():
    stack, shifts = edge_stack(4)
    stack[17] = 3.0
    found = register(stack)
    np.testing.assert_array_equal(found.shifts[17], 0)
    assert found.confidence[17] == 0
    others = np.arange(len(stack)) != 17
    assert rms(found.shifts[others], shifts[others]) < 0.1


def test_two_frames_come_to_rest():
    # the other frames have no contrast
    stack = np.ones((40, 96, 96), np.float32)
    stack[3] = band_limited((0, 0), shape=(96, 96))
    stack[4] = band_limited((3.2, -4.4), shape=(96, 96))
    for num_rounds in (1, 2):
        found = register(stack, num_rounds=num_rounds)
        # as for a pair: the kink in the length of a gradient
        np.testing.assert_allclose(found.shifts[4], (1.6, -2.2), atol=0.02)
        np.testing.assert_allclose(found.shifts[3], (-1.6, 2.2), atol=0.02)


def test_models_of_their_own_find_frames_that_are_mostly_noise():
    stack, shifts = simulated_edge(4, sigma=0.5)
    models = simulated_edge(0, sigma=1e-6)[0]
    assert rms(register(stack).shifts, shifts) > 0.3
    found = register_to(stack, models)
    # white noise that a correlation with the truth is robust to; measured: 0.15
    assert rms(found.shifts, shifts) < 0.3
    np.testing.assert_allclose(found.shifts.mean(0), 0, atol=1e-4)  # float32


def test_aligned_frames_are_valid_where_the_registration_says():
    stack, _ = edge_stack(4)
    mask = np.ones(stack.shape[1:], bool)
    mask[40:44] = False
    stack[:, ~mask] = np.nan
    for whole_pixels, num_rounds in ((False, 3), (True, 1)):
        found = register(
            stack, mask=mask, whole_pixels=whole_pixels, num_rounds=num_rounds
        )
        aligned = align(stack, found, mask=mask, whole_pixels=whole_pixels)
        assert np.isfinite(aligned.stack).all()
        np.testing.assert_array_equal(aligned.mask.all(0), aligned.common)
        np.testing.assert_array_equal(found.mask, aligned.common)
        assert 0 < found.mask.mean() < 1
    np.testing.assert_array_equal(found.shifts, np.round(found.shifts))
    dy, dx = np.asarray(found.shifts[5], int)
    inside = stack[5, 30 + dy, 50 + dx]  # the scene's (30, 50) is where it was moved to
    np.testing.assert_array_equal(aligned.stack[5, 30, 50], inside)


def test_shifts_of_smoothed_frames_serve_the_raw_ones(jittered):
    raw, _, found = jittered
    counts = np.round(100 * (raw + 3)).astype(np.int32)
    aligned = align(counts, found, whole_pixels=True)
    assert aligned.stack.dtype == counts.dtype
    assert {*np.unique(aligned.stack[aligned.mask])} <= {*np.unique(counts)}


@pytest.mark.parametrize(
    "kind", [pytest.param(np.int64, marks=pytest.mark.slow), np.uint64]
)
def test_integers_beyond_32_bits_are_taken_by_value(jittered, kind):
    raw, *_ = jittered
    # single precision holds 24 bits of them
    large = np.round(2.0**12 * (raw[:4] - raw.min())) * 2.0**24
    given, expected = large.astype(kind), large.astype(np.float32)
    assert given.max() > 2**33
    found = register(given, num_rounds=0)
    for one, other in zip(found, register(expected, num_rounds=0), strict=True):
        np.testing.assert_array_equal(one, other)
    by_models = register_to(given, given[::-1].copy())
    for one, other in zip(
        by_models, register_to(expected, expected[::-1].copy()), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(
        align(given, found).stack, align(expected, found).stack
    )
    pair = estimate_shift(given[0], given[1])
    for one, other in zip(pair, estimate_shift(expected[0], expected[1]), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize(
    ("misuse", "message"),
    [
        (lambda: register(SCENE), "`y` must have the axes"),
        (lambda: register(STACK[:1]), "at least two frames"),
        (lambda: register(STACK, mask=STACK[:2]), "`mask` must have the shape"),
        (lambda: register(STACK, reference=3), "index of one of 3 frames, got 3"),
        (lambda: register(STACK, reference="first"), "`reference` must be"),
        (lambda: register(STACK, num_rounds=-1), "`num_rounds` must not be negative"),
        (lambda: register_to(STACK, SCENE), r"`models` must have the shape \(3, 16"),
        (lambda: align(STACK[:2], AT_REST), "a shift for each of 2 frames"),
    ],
)
def test_misuse_gets_a_sentence(misuse, message):
    with pytest.raises(ValueError, match=message):
        misuse()
