import json
import re

import numpy as np
import pytest

from tests.pipeline.stand_ins import components_of
from tvjax import plot
from tvjax.pipeline.stack_outcome import Shifts
from tvjax.report import write_report, write_stack_report

SHAPE = 24, 30


@pytest.fixture(scope="module")
def content():
    rng = np.random.default_rng(0)
    after = np.add.outer(np.arange(24), np.arange(30)) / 10
    spectra = rng.normal(size=(2, 12))
    stack = np.tensordot(spectra.T, rng.normal(size=(2, *SHAPE)), 1)
    mask = np.ones(SHAPE, bool)
    mask[3] = False
    return {
        "before": after + 0.5 * rng.normal(size=SHAPE),
        "after": after,
        "sigma": 0.5,
        "mask": mask,
        "summary": {"rank": 2, "sigma": [0.5] * 12},
        "components": components_of(stack, mask, 2, sigma=np.full(12, 0.5)),
        "spectra": plot.PixelSpectra([(1, 2), (4, 5)], spectra, spectra / 2),
        "energies": np.linspace(700, 711, 12),
        "frame": "Frame 3 at 703.00 eV",
    }


def test_the_pages_hold_what_there_is(content, tmp_path):
    maps = {"before": content["before"], "after": content["after"]}
    shifts = Shifts(np.zeros((12, 2)), np.ones(12))
    page = write_stack_report(
        tmp_path / "report",
        **content,
        maps=maps,
        map_label="mean valence",
        shifts=shifts,
        truth=content["after"],
        oracle=np.array([0.3, 0.1, 0.1]),
    )
    text = (tmp_path / "report/report.md").read_text()
    pictures = re.findall(r"!\[.*\]\((.+)\)", text)
    assert pictures == [
        *("before_after.png", "spectra.png", "map.png", "rank.png", "scree.png"),
        *("components.png", "shifts.png", "residual.png"),
    ]
    assert sorted(path.name for path in page.parent.iterdir()) == sorted(
        [*pictures, "report.md", "report.html", "report.json"]
    )
    assert page.read_text().count("src='data:image/png;base64,") == 8
    report = json.loads((tmp_path / "report/report.json").read_text())
    assert report["summary"]["sigma"] == [0.5] * 12
    measured = report["measured"]
    assert measured["residual_deviation"] == pytest.approx(1, abs=0.1)
    assert abs(measured["residual_neighbor_correlation"]) < 0.15
    assert measured["true_rmse_before"] == pytest.approx(0.5, rel=0.1)
    assert measured["true_rmse_after"] == 0
    assert "Mean valence in each pixel" in text
    assert "from the noisy data alone, and in truth." in text


def test_without_maps_and_shifts_there_are_no_pictures_of_them(content, tmp_path):
    write_stack_report(tmp_path, **content)
    assert not (tmp_path / "map.png").exists()
    assert not (tmp_path / "shifts.png").exists()


def test_a_report_of_another_kind_is_replaced_whole(content, tmp_path):
    frame = {key: content[key] for key in ("before", "after", "mask")}
    variance = np.full(SHAPE, 0.25)
    write_report(tmp_path, **frame, variance=variance, summary={})
    with pytest.raises(FileExistsError, match="exists already"):
        write_stack_report(tmp_path, **content)
    write_stack_report(tmp_path, **content, overwrite=True)
    assert (tmp_path / "scree.png").exists()
    write_report(tmp_path, **frame, variance=variance, summary={}, overwrite=True)
    assert not (tmp_path / "scree.png").exists()
