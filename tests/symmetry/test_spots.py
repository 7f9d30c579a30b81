import numpy as np
import pytest
from jax import numpy as jnp

import tvjax
from tvjax.simulate import add_spot, scattering_pattern
from tvjax.symmetry import find_group, judge_symmetry
from tvjax.symmetry.measurement import as_measurement
from tvjax.symmetry.orbits import mean_over_orbits
from tvjax.symmetry.spots import (
    broken_by_chance,
    BY_CHANCE,
    find_broken_orbits,
    MOST_BY_CHANCE,
)

SHAPE = (128, 140)
POISSON = tvjax.Poisson()


def test_a_spot_without_a_partner_is_found_on_both_sides():
    plain = scattering_pattern("fibre", SHAPE, mean=2.0)
    place = (40, 20)
    level = plain.truth[38:43, 18:23].sum()
    pattern = add_spot(plain, place, 12 * level**0.5, 1.2)
    found = judge_symmetry(
        pattern.counts(0),
        group="friedel",
        centre=plain.centre,
        noise=POISSON,
        mask=plain.mask,
    )
    image = tuple(int(2 * c - p) for c, p in zip(plain.centre, place, strict=True))
    assert found.broken[place] and found.broken[image]
    assert found.spot[place] and not found.spot[image]
    assert found.holds


@pytest.mark.parametrize("mean", [0.2, 1.0])
def test_pieces_of_a_ring_are_no_spots(mean):
    pattern = scattering_pattern("powder", SHAPE, mean=mean)
    for seed in range(3):
        found = judge_symmetry(
            pattern.counts(seed),
            group="friedel",
            centre=pattern.centre,
            noise=POISSON,
            mask=pattern.mask,
        )
        assert np.mean(found.spot) < 1e-3
        assert found.broken_share < 0.01


@pytest.mark.parametrize(
    "noise", [POISSON, tvjax.Gaussian(2.0)], ids=["counts", "white"]
)
def test_chance_breaks_as_few_orbits_as_it_says(noise):
    group, centre = find_group("friedel"), (63.5, 69.5)
    rng, shares = np.random.default_rng(0), []
    for _ in range(12):
        y = rng.poisson(4.0, SHAPE) if noise is POISSON else rng.normal(50, 2.0, SHAPE)
        measured = as_measurement(y, noise=noise, mask=None)
        orbit = mean_over_orbits(measured.image, group, centre, measured.mask)
        found = find_broken_orbits(measured, orbit, group, centre)
        shares.append(float(jnp.mean(found.broken)))
    # what is granted is twice what is expected
    assert np.mean(shares) < broken_by_chance(group, SHAPE[0] * SHAPE[1])


def test_what_chance_is_granted_is_bounded_on_small_frames():
    group = find_group("6mm")
    assert broken_by_chance(group, 100) == MOST_BY_CHANCE
    # twice BY_CHANCE spots of each size, of 25 pixels, on each of the 12 members
    assert broken_by_chance(group, 10**6) == 2 * BY_CHANCE * 2 * 25 * 12 / 10**6


def test_a_spot_in_a_ring_is_left_out_of_its_mean_alone():
    plain = scattering_pattern("saxs", SHAPE, mean=2.0)
    place = (40, 20)
    level = plain.truth[38:43, 18:23].sum()
    pattern = add_spot(plain, place, 12 * level**0.5, 1.2)
    group, centre = find_group("azimuthal"), plain.centre
    measured = as_measurement(pattern.counts(0), noise=POISSON, mask=plain.mask)
    orbit = mean_over_orbits(measured.image, group, jnp.asarray(centre), measured.mask)
    found = find_broken_orbits(measured, orbit, group, centre)
    assert found.spot[place] and found.broken[place]
    ghost = tuple(int(2 * c - p) for c, p in zip(centre, place, strict=True))
    assert not found.broken[ghost]
    assert jnp.mean(found.broken) < 0.01
