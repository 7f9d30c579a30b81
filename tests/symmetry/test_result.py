import json

import numpy as np
import pytest

import tvjax
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import SymmetricResult

POISSON = tvjax.Poisson()


@pytest.fixture(scope="module")
def result():
    pattern = scattering_pattern("fibre", (48, 52), mean=2.0)
    return tvjax.denoise_symmetric(
        pattern.counts(0),
        noise=POISSON,
        group="friedel",
        centre=pattern.centre,
        mask=pattern.mask,
    )


@pytest.fixture(scope="module")
def alone():
    y = np.random.default_rng(0).poisson(1.0, (48, 48))
    return tvjax.denoise_symmetric(y, noise=POISSON)


def test_report_says_symmetry_strength_risk_and_certificate(result):
    lines = dict(line.split(maxsplit=1) for line in result.report().splitlines())
    assert lines["symmetry"].startswith("friedel about (23.00, 25.00) holds")
    assert lines["centre"].endswith("(0, 0) pixels")
    assert (
        f"{float(result.alpha):.4g} (chosen between halves of the data)"
        == (lines["alpha"])
    )
    assert lines["risk"].startswith(f"{float(result.risk):.4g}, the mean squared")
    assert lines["noise"].startswith("left 0.")  # of a name of two words
    assert "WARNING" not in lines


def test_without_a_symmetry_the_image_alone_is_reported(alone):
    assert alone.group == "none" and alone.centre is None
    assert "none that the data do not refuse" in alone.report()
    assert alone.asdict()["symmetry"] is None


def test_numbers_are_what_json_knows(result):
    told = json.loads(json.dumps(result.asdict()))
    assert told["noise"] == {"model": "Poisson", "gain": 1.0}
    assert told["group"] == "friedel"
    assert told["symmetry"]["centre"] == [23.0, 25.0]
    assert told["symmetry"]["holds"] is True
    assert told["alpha"] == pytest.approx(float(result.alpha))
    assert told["warnings"] == [] and told["fallback"] is None
    assert isinstance(result, SymmetricResult)
    assert repr(result).startswith("<SymmetricResult 48 x 52, risk ")
