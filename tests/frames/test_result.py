import dataclasses
import json

import numpy as np
import pytest

from tvjax.frames import Curve, Result
from tvjax.noise import Gaussian, Poisson

CURVE = Curve(np.asarray([1.0, 2.0]), np.asarray([0.5, 0.25]))


def result(**changes):
    """A result of one image of which all is known."""
    known = Result(
        image=np.zeros((3, 4), np.float32),
        noise=Gaussian(2.5),
        risk=np.asarray(0.25),
        alpha=np.asarray(2.0),
        curve=CURVE,
        relative_gap=np.asarray(1e-5),
        rmse=np.asarray(0.01),
        num_steps=np.asarray(60),
        converged=np.asarray(True),
        at_bound=np.asarray(False),
    )
    return dataclasses.replace(known, **changes)


def test_report_has_a_line_for_each_fact():
    lines = result().report().splitlines()
    words = {line.split()[0]: line for line in lines}
    assert list(words) == ["noise", "alpha", "risk", "exactness", "steps"]
    assert words["noise"].endswith("Gaussian, sigma 2.5")
    assert words["alpha"].endswith("2 (chosen by the risk)")
    assert "0.25, the mean squared error as estimated by data" in words["risk"]
    assert "relative gap 1e-05, within 0.01 rms" in words["exactness"]
    assert words["steps"].split() == ["steps", "60"]
    starts = {len(line) - len(line[10:].lstrip()) for line in lines}
    assert starts == {11}, "the sentences stand below each other"


def test_a_given_strength_has_neither_noise_nor_risk():
    given = result(noise=None, risk=None, curve=None)
    assert list(given.facts()) == ["alpha", "exactness", "steps"]
    assert given.facts()["alpha"] == "2 (given)"
    told = given.asdict()
    assert told["noise"] is None and told["risk"] is None and told["curve"] is None


def test_error_bar_and_kept_spots_are_told():
    kept = np.zeros((4, 4), bool)
    kept[1, 1:3] = True
    found = result(alpha_error=np.array(0.05), kept=kept, protection=0.5)
    assert found.facts()["alpha"] == "2 ± 5 % (chosen by the risk)"
    assert found.facts()["kept"].startswith("2 pixels of clear spots, at 0.5")
    told = found.asdict()
    assert told["alpha_error"] == 0.05 and told["kept"] == 2
    assert told["protection"] == 0.5


def test_dict_goes_through_json_and_has_everything_but_the_image():
    told = json.loads(json.dumps(result(warnings=("look twice",)).asdict()))
    assert told == {
        "noise": {"model": "Gaussian", "sigma": 2.5},
        "risk": 0.25,
        "alpha": 2.0,
        "curve": {"alphas": [1.0, 2.0], "risks": [0.5, 0.25], "splits": None},
        "alpha_error": None,
        "kept": None,
        "protection": None,
        "diagnosis": None,
        "relative_gap": pytest.approx(1e-5),
        "rmse": pytest.approx(0.01),
        "num_steps": 60,
        "converged": True,
        "at_bound": False,
        "warnings": ["look twice"],
    }


def test_numbers_of_frames_are_told_as_ranges():
    frames = result(
        image=np.zeros((2, 3, 4)),
        noise=Poisson(np.asarray([[1.0, 1.5], [2.0, 1.0]])),
        alpha=np.asarray([2.0, 3.5]),
        num_steps=np.asarray([40, 60]),
    )
    facts = frames.facts()
    assert facts["alpha"].startswith("2 to 3.5 ")
    assert facts["steps"] == "40 to 60"
    assert facts["noise"] == "Poisson, gain 1 to 2"
    assert repr(frames) == "<Result 2 x 3 x 4, risk 0.25>"


def test_a_result_cannot_be_changed():
    with pytest.raises(AttributeError):
        result().alpha = 3.0
