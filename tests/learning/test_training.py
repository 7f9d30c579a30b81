import jax
import numpy as np
import pytest
from jax import numpy as jnp

from tests.learning.patterns import (
    assert_same,
    CENTRE,
    counts,
    KEY,
    OPTIONS,
    tiny,
    truths,
)
from tvjax.learning import predict, train, TrainingSeries
from tvjax.learning.pairs import sum_orbits

pytestmark = pytest.mark.slow


def test_loss_falls_on_what_was_held_out(series):
    trained = train(series, start=tiny(), key=KEY, **OPTIONS | {"num_steps": 80})
    risks = [record["held_out"] for record in trained.log]
    # the noise of the target alone is of order one half and does not fall
    assert risks[-1] < risks[0] - 0.03
    assert [record["step"] for record in trained.log] == list(range(4, 81, 4))


def test_result_follows_from_the_key(series):
    one, again, other = (
        train(series, start=tiny(), key=jax.random.key(k), **OPTIONS) for k in (1, 1, 2)
    )
    assert_same(one, again)
    assert one.log != other.log


def test_several_symmetries_are_learned_together(series):
    y, x = np.indices((24, 30)) - np.asarray([11.5, 14.5])[:, None, None]
    rings = np.random.default_rng(0).poisson(
        1 + np.cos(np.hypot(y, x)) ** 2, (3, 24, 30)
    )
    others = TrainingSeries.of(rings, group="2mm", centre=(11.5, 14.5))
    trained = train([series, others], start=tiny(), key=KEY, **OPTIONS)
    assert len(trained.log) == 3


def test_training_stops_when_nothing_gets_better(series):
    options = OPTIONS | {"num_steps": 400, "rate": 1e-12, "patience": 2}
    trained = train(series, start=tiny(), key=KEY, **options)
    assert trained.log[-1]["step"] < 400


def test_diverged_training_says_so(series):
    options = OPTIONS | {"num_steps": 400, "rate": 1e18}
    with pytest.raises(FloatingPointError, match="a lower `rate`"):
        train(series, start=tiny(), key=KEY, **options)


def test_rate_at_few_counts_is_not_biased():
    truth = truths(12, 0.2)
    frames, mask = counts(12, 0.2)
    options = {"num_steps": 60, "batch": 4, "side": 32, "rate": 4e-3}
    series = TrainingSeries.of(frames, group="friedel", centre=CENTRE, mask=mask)
    trained = train(series, start=tiny(), key=KEY, **options)
    summed = [
        sum_orbits(
            jnp.asarray(frame, jnp.float32), series.group, CENTRE, jnp.asarray(mask)
        )
        for frame in frames
    ]
    rate = np.stack([trained.network(*both) for both in summed])
    # 12 frames of 0.2 counts in 960 pixels: 2 % of noise. Without zeros it is 5.5 times
    assert rate[:, mask].mean() == pytest.approx(truth[:, mask].mean(), rel=0.05)
    kept = np.stack(
        [
            predict(trained.network, f, group="friedel", centre=CENTRE, mask=mask)
            for f in frames
        ]
    )
    np.testing.assert_allclose(
        kept[:, mask].sum(axis=1), frames[:, mask].sum(axis=1), rtol=1e-5
    )
    assert np.mean((kept - truth)[:, mask] ** 2) < 0.1 * np.mean(truth)


def test_options_must_be_positive(series):
    for name in ("num_steps", "batch", "side", "rate", "check_every", "patience"):
        with pytest.raises(ValueError, match=f"`{name}` must be positive, got 0"):
            train(series, start=tiny(), key=KEY, **OPTIONS | {name: 0})
    with pytest.raises(ValueError, match="`series` must be one at least"):
        train([], key=KEY, **OPTIONS)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="there is another device")
def test_device_that_is_not_there_is_refused(series):
    with pytest.raises(ValueError, match="`device` 'gpu' is not there.*only cpu"):
        train(series, start=tiny(), key=KEY, device="gpu", **OPTIONS)
