import numpy as np
import pytest

from tests.learning.patterns import CENTRE, counts, SIDE, tiny
from tvjax.learning import predict


def test_prediction_keeps_the_total_of_the_valid_counts():
    frames, mask = counts(2, 3.0)
    for average in (False, True):
        image = predict(
            tiny(),
            frames[0],
            group="friedel",
            centre=CENTRE,
            mask=mask,
            average=average,
        )
        assert image[mask].sum() == pytest.approx(frames[0][mask].sum(), rel=1e-5)


def test_average_has_the_symmetry():
    frames, mask = counts(2, 3.0)
    image = predict(
        tiny(), frames[0], group="friedel", centre=CENTRE, mask=mask, average=True
    )
    np.testing.assert_allclose(np.rot90(image, 2), image, rtol=1e-5)


def test_rings_are_predicted():
    frames, mask = counts(2, 3.0)
    image = predict(tiny(), frames[0], group="azimuthal", centre=CENTRE, mask=mask)
    assert np.all(np.isfinite(image)) and np.all(image > 0)


def test_average_knows_no_way_up():
    frames, mask = counts(2, 3.0)
    image = predict(
        tiny(), frames[0], group="friedel", centre=CENTRE, mask=mask, average=True
    )
    turned = predict(
        tiny(),
        np.rot90(frames[0]),
        group="friedel",
        centre=CENTRE,
        mask=np.rot90(mask),
        average=True,
    )
    np.testing.assert_allclose(np.rot90(image), turned, rtol=1e-4)


def test_frames_without_counts_come_back_empty():
    image = predict(tiny(), np.zeros((SIDE, SIDE), int), group="friedel", centre=CENTRE)
    np.testing.assert_array_equal(image, 0)


def test_prediction_refuses_what_is_no_frame():
    frames, mask = counts(3, 1.0)
    with pytest.raises(
        ValueError, match="`y` must be an image .*one frame after the other"
    ):
        predict(tiny(), frames, group="friedel", centre=CENTRE)
    with pytest.raises(
        ValueError, match=r"`mask` must have the shape \(32, 32\), got \(5, 32\)"
    ):
        predict(tiny(), frames[0], group="friedel", centre=CENTRE, mask=mask[:5])
