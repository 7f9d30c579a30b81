import numpy as np
import pytest

import tvjax
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import choose_symmetry, find_group, Refused
from tvjax.symmetry.centre import Centre
from tvjax.symmetry.choice import as_wanted
from tvjax.symmetry.measurement import as_measurement

SHAPE = (96, 104)
POISSON = tvjax.Poisson()


@pytest.mark.slow
def test_auto_takes_the_largest_group_that_holds():
    pattern = scattering_pattern("fibre", SHAPE, mean=2.0)
    found = choose_symmetry(
        pattern.counts(0), noise=POISSON, centre=pattern.centre, mask=pattern.mask
    )
    assert found.agreement.group is find_group("2mm") and found.agreement.holds
    assert found.centre.place == pattern.centre
    assert found.centre.error == (0, 0)


def test_a_found_centre_is_that_of_its_agreement():
    pattern = scattering_pattern("crystal", SHAPE, mean=2.0, centre=(45.5, 52.0))
    found = choose_symmetry(
        pattern.counts(0), noise=POISSON, group="friedel", mask=pattern.mask
    )
    # the data do not tell it from half pixels, which need no interpolation
    assert found.centre.place == (45.5, 52.0) == found.agreement.centre
    assert max(found.centre.error) < 0.2


@pytest.mark.slow
def test_noise_alone_has_no_symmetry_to_refuse_but_no_centre_either():
    y = np.random.default_rng(0).poisson(1.0, (48, 48))
    with pytest.raises(Refused, match="does not tell its centre under 'friedel'"):
        choose_symmetry(y, noise=POISSON, group="friedel")
    assert choose_symmetry(y, noise=POISSON) == (None, None)


@pytest.mark.slow
def test_a_named_group_that_the_data_contradict_is_refused():
    rng = np.random.default_rng(1)
    y = rng.poisson(np.repeat(rng.uniform(0, 40, (48, 6)), 8, axis=1))
    with pytest.raises(Refused, match="the data refuse 'friedel' about .*chi-squared"):
        choose_symmetry(y, noise=POISSON, group="friedel", centre=(23.5, 23.5))


def test_what_is_named_is_checked_once():
    measured = as_measurement(np.ones((20, 30)), noise=POISSON, mask=None)
    assert as_wanted("auto", "auto", measured) == (None, None)
    group, centre = as_wanted("4", (3, 4), measured)
    assert group is find_group("4") and centre == Centre(3.0, 4.0, (0.0, 0.0))
    assert as_wanted(group, "auto", measured) == (group, None)
    with pytest.raises(ValueError, match="`centre` must be 'auto' or"):
        as_wanted("auto", "file", measured)
    with pytest.raises(ValueError, match="must lie in the image of shape"):
        as_wanted("azimuthal", (41.0, 0.0), measured)
