from dataclasses import dataclass

import numpy as np

from tvjax.readable import AbstractReadable, plain, short


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class Weather(AbstractReadable):
    """A sentence on the weather."""

    def facts(self) -> dict[str, str]:
        return {"sky": "blue & <clear>"}


def test_facts_come_before_warnings():
    lines = Weather(warnings=("wind", "rain")).report().splitlines()
    assert lines == [
        "sky        blue & <clear>",
        "WARNING    wind",
        "WARNING    rain",
    ]


def test_a_notebook_shows_text_as_it_is():
    page = Weather()._repr_html_()
    assert "<th>sky</th><td>blue &amp; &lt;clear&gt;</td>" in page


def test_numbers_are_words_or_ranges():
    assert short(1.23456789) == "1.235"
    assert short(8.451, 2) == "8.5" and short(np.array([8.4, 12.6]), 2) == "8.4 to 13"
    assert short(np.asarray([1.0, 4.0])) == "1 to 4"
    assert short(np.asarray([2.0, 2.0])) == "2"
    assert plain(np.float32(0.5)) == 0.5 and plain(np.eye(2)) == [[1, 0], [0, 1]]
