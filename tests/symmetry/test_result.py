import dataclasses
import json

import numpy as np
import pytest

import tvjax
from tvjax.simulate import scattering_pattern
from tvjax.symmetry import SymmetricResult
from tvjax.symmetry.fallback import Fallback

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


def test_without_a_symmetry_the_image_alone_is_reported(result):
    alone = dataclasses.replace(result, group="none", centre=None, agreement=None)
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


def test_an_imperfect_symmetry_is_told_in_numbers(result):
    shading = np.full(result.image.shape, 1.0)
    agreement = dataclasses.replace(result.agreement, shading=shading, window=8.0)
    fallback = Fallback(np.full(result.image.shape, 0.25), 0.1, 0.2, 4.0)
    found = dataclasses.replace(result, agreement=agreement, fallback=fallback)
    assert found.imperfect and not result.imperfect
    told = found.asdict()
    assert told["fallback"] == {
        "share": 0.25,
        "risk": 0.1,
        "own_risk": 0.2,
        "certainty": 4.0,
    }
    assert told["symmetry"]["window"] == 8 and told["symmetry"]["smooth_factor"] == 0
