import numpy as np
import pytest

from tests.pipeline.stand_ins import components_of, noisy
from tvjax.io import FileError, stack_of
from tvjax.pipeline.alignment import at_rest, check_memory, COPIES, SETTLED
from tvjax.simulate import draw_shifts, jitter


def truncated(y, mask, rank):
    """The leading components; enough of them where none is asked for."""
    return components_of(y[:] * mask, mask, rank or 3)


def centred(shifts):
    return shifts - shifts.mean(axis=0)


@pytest.fixture(scope="module")
def moved(scene):
    """A particle that moved by whole pixels between frames, and by how much."""
    shifts = np.round(draw_shifts(len(scene.truth), 1.5))
    data = noisy(jitter(scene, shifts).truth, 0.01)
    stack = stack_of(data, scene.energies, unit="optical density")
    return stack, np.asarray(shifts)


@pytest.mark.parametrize(
    "whole_pixels", [pytest.param(False, marks=pytest.mark.slow), True]
)
def test_frames_are_moved_back_by_what_they_had_moved(moved, whole_pixels):
    stack, shifts = moved
    mask = np.ones(stack.shape[1:], bool)
    found = at_rest(stack, mask, truncated, rank=3, whole_pixels=whole_pixels)
    error = centred(found.shifts.shifts) - centred(shifts)
    # the noise lets a frame be placed to a tenth of a pixel, rounding to half of one
    assert np.sqrt(np.mean(error**2)) < (0.6 if whole_pixels else 0.2)
    assert (found.shifts.confidence > 0).all()
    assert found.shifts.not_found == 0
    # where a frame was moved out of view, a pixel is not known in all of them
    assert 0.5 < found.mask.mean() < 1
    assert found.stack.unit == stack.unit
    np.testing.assert_array_equal(found.stack.energies, stack.energies)
    if whole_pixels:
        assert np.array_equal(found.shifts.shifts, np.round(found.shifts.shifts))


def test_moving_by_whole_pixels_keeps_every_value(moved):
    stack, _ = moved
    mask = np.ones(stack.shape[1:], bool)
    found = at_rest(stack, mask, truncated, rank=3, whole_pixels=True)
    rows, columns = np.nonzero(found.mask)
    for frame, (y, x) in enumerate(found.shifts.shifts.astype(int)):
        np.testing.assert_array_equal(
            found.stack[frame : frame + 1][0][rows, columns],
            stack[frame : frame + 1][0][rows + y, columns + x],
        )


def test_a_stack_at_rest_stays_there(scene):
    stack = stack_of(noisy(scene.truth, 0.01), scene.energies)
    mask = np.ones(stack.shape[1:], bool)
    found = at_rest(stack, mask, truncated, rank=3, whole_pixels=False)
    # as well as a frame can be placed, which the noise allows to some hundredths
    assert np.sqrt(np.mean(found.shifts.shifts**2)) < 5 * SETTLED


def test_a_stack_that_does_not_fit_is_refused(tmp_path, scene):
    stack = stack_of(scene.truth.astype(np.float32), scene.energies)
    named = stack_of(stack[:], like=stack.series)
    needed = COPIES * 4 * scene.truth.size
    check_memory(named, needed)
    object.__setattr__(named.series, "names", ("raw.h5",))
    with pytest.raises(FileError, match="raw.h5 is too large to be registered in"):
        check_memory(named, needed - 1)
