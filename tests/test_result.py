import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from tvjax.noise import diagnose_noise, Poisson, PoissonGaussian
from tvjax.result import AbstractResult, noise_in_words, plain, short


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Sharpness(AbstractResult):
    """A result with one number of its own."""

    sharpness: np.ndarray

    def facts(self) -> dict[str, str]:
        return {"sharpness": f"{short(self.sharpness)} <per pixel>"}

    def numbers(self) -> dict[str, Any]:
        return {"sharpness": plain(self.sharpness)}


def sharp(**options):
    known = {
        "image": np.ones((2, 3)),
        "noise": Poisson(2.0),
        "risk": np.asarray(0.5),
        "sharpness": np.asarray([1.0, 4.0]),
    }
    return Sharpness(**{**known, **options})


def test_report_ends_with_the_warnings():
    assert sharp().report() == "sharpness  1 to 4 <per pixel>"
    lines = sharp(warnings=("too sharp", "look again")).report().splitlines()
    assert lines[1:] == ["WARNING    too sharp", "WARNING    look again"]


def test_notebooks_get_a_table_in_which_nothing_is_markup():
    html = sharp(warnings=("x & y",))._repr_html_()
    assert html.startswith("<table>") and html.endswith("</table>")
    assert html.count("<tr>") == 2
    assert "<td>1 to 4 &lt;per pixel&gt;</td>" in html
    assert "<th>warning</th><td>x &amp; y</td>" in html


def test_repr_is_one_short_line():
    assert repr(sharp()) == "<Sharpness 2 x 3, risk 0.5>"
    warned = sharp(risk=None, warnings=("x", "y"))
    assert repr(warned) == "<Sharpness 2 x 3, 2 warnings>"


def test_what_the_noise_was_recognised_by_is_in_the_dict():
    report = diagnose_noise(np.random.default_rng(0).poisson(3.0, (64, 64)))
    told = sharp(diagnosis=report).asdict()
    assert json.loads(json.dumps(told)) == told
    assert told["diagnosis"] == report.asdict()


def test_dict_has_what_all_results_have_and_goes_through_json():
    told = sharp(warnings=("x",)).asdict()
    assert json.loads(json.dumps(told)) == told
    assert told == {
        "noise": {"model": "Poisson", "gain": 2.0},
        "risk": 0.5,
        "diagnosis": None,
        "sharpness": [1.0, 4.0],
        "warnings": ["x"],
    }
    unknown = sharp(noise=None, risk=None).asdict()
    assert unknown["noise"] is None and unknown["risk"] is None


def test_a_result_without_facts_is_no_result():
    with pytest.raises(TypeError, match="abstract"):
        AbstractResult(image=np.ones(1), noise=None, risk=None)


def test_numbers_in_short():
    assert short(np.asarray(0.123456)) == "0.1235"
    assert short(np.asarray([3])) == "3"
    assert short(np.asarray([[3.0, 1.0], [2.0, 7.5]])) == "1 to 7.5"
    assert plain(np.float32(0.5)) == 0.5 and plain(np.asarray([True])) == [True]


def test_noise_is_worded_by_its_name_and_numbers():
    assert noise_in_words(Poisson(2.0)) == "Poisson, gain 2"
    mixed = PoissonGaussian(1.5, 3.0)
    assert noise_in_words(mixed) == "PoissonGaussian, gain 1.5, sigma 3, offset 0"
