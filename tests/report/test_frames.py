import base64
import json
import re
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest

from tvjax import plot
from tvjax.io import FileError
from tvjax.report import write_report
from tvjax.report.frames import measure_frame, measure_residual
from tvjax.simulate import diffraction_image

FILES = [
    *("before_after.png", "risk.png", "spot.png", "residual.png"),
    *("report.md", "report.html", "report.json"),
]
ALPHAS = np.geomspace(0.1, 10, 5)
CURVE = plot.RiskCurve(ALPHAS, np.log(ALPHAS) ** 2, 1.0)
SUMMARY = {
    "alpha": jnp.float32(0.5),
    "gap": np.nan,
    "converged": np.bool_(True),
    "input": Path("a|b") / "<scan>.h5",
    "noise": {"model": "Poisson", "gain": 1.0},
    "alphas": np.arange(100.0),
}


@pytest.fixture(scope="module")
def images():
    """Counts, their truth in place of a denoised image, and one invalid column."""
    before, truth = diffraction_image(
        (64, 80), num_spots=2, spot_counts=(300, 900), seed=3
    )
    mask = np.ones(before.shape, bool)
    mask[:, 3] = False
    before = np.where(mask, before, 2**32 - 1).astype(np.uint32)
    return {"before": before, "after": truth, "variance": truth, "mask": mask}


@pytest.fixture(scope="module")
def folder(images, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "new" / "report"
    write_report(
        folder,
        **images,
        summary=SUMMARY,
        curve=CURVE,
        truth=images["after"],
        title="Scan <1>",
    )
    return folder


def test_the_folder_holds_every_file_and_nothing_else(folder):
    assert sorted(path.name for path in folder.iterdir()) == sorted(FILES)
    assert [path.name for path in folder.parent.iterdir()] == ["report"]


def test_json_holds_every_number(folder, images):
    report = json.loads((folder / "report.json").read_text())
    assert report["summary"] == {
        "alpha": 0.5,
        "gap": None,
        "converged": True,
        "input": "a|b/<scan>.h5",
        "noise": {"model": "Poisson", "gain": 1.0},
        "alphas": list(range(100)),
    }
    assert report["curve"]["alphas"] == ALPHAS.tolist()
    measured = report["measured"]
    mask = images["mask"]
    assert measured["valid_share"] == mask.mean()
    assert measured["total_before"] == images["before"][mask].sum()
    assert measured["true_mse_after"] == 0
    error = 4 / np.sqrt(mask.sum())  # four standard errors of a unit normal's mean
    assert abs(measured["residual_mean"]) < error
    assert abs(measured["residual_neighbor_correlation"]) < error


def test_html_stands_alone_and_is_escaped(folder):
    page = (folder / "report.html").read_text()
    pictures = re.findall(r"src='data:image/png;base64,([^']+)'", page)
    assert len(pictures) == 4
    assert base64.b64decode(pictures[0]) == (folder / "before_after.png").read_bytes()
    assert not re.search(r"(src|href)=['\"](?!data:)", page)
    assert "Scan &lt;1&gt;" in page and "&lt;scan&gt;" in page and "<scan>" not in page


def test_markdown_names_its_pictures_and_keeps_its_table(folder):
    page = (folder / "report.md").read_text()
    named = re.findall(r"!\[.*\]\((.+)\)", page)
    assert named == [name for name in FILES if name.endswith("png")]
    assert r"| input | a\|b/&lt;scan&gt;.h5 |" in page
    assert "| converged | yes |" in page
    assert "| noise, gain | 1 |" in page
    assert "| gap | none |" in page
    assert "alphas" not in page


def test_an_earlier_report_is_kept_unless_overwrite_is_asked_for(images, tmp_path):
    write_report(tmp_path, **images, summary={}, curve=CURVE)
    (tmp_path / "notes.txt").write_text("mine")
    before = (tmp_path / "report.json").read_bytes()
    with pytest.raises(FileExistsError, match="exists already"):
        write_report(tmp_path, **images, summary={"alpha": 2.0})
    assert (tmp_path / "report.json").read_bytes() == before

    write_report(tmp_path, **images, summary={"alpha": 2.0}, overwrite=True)
    assert json.loads((tmp_path / "report.json").read_text())["summary"]["alpha"] == 2
    assert not (tmp_path / "risk.png").exists(), "a picture of the earlier report"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_failed_write_leaves_nothing(images, tmp_path, monkeypatch):
    def full(path, content):
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(FileError, match="cannot be written .disk full"):
        write_report(tmp_path / "report", **images, summary={})
    assert not list(tmp_path.iterdir())


def test_an_image_without_spots_has_no_picture_of_one(images, tmp_path):
    flat = np.full(images["before"].shape, 4.0)
    frames = {"before": flat, "after": flat, "variance": flat}
    write_report(tmp_path, **frames, mask=images["mask"], summary={})
    assert not (tmp_path / "spot.png").exists()
    measured = json.loads((tmp_path / "report.json").read_text())["measured"]
    assert measured["faintest_spot"] is None


def test_an_image_without_valid_pixels_is_refused(images, tmp_path):
    with pytest.raises(ValueError, match="no valid pixel"):
        write_report(
            tmp_path, **{**images, "mask": ~images["mask"] & False}, summary={}
        )


def test_images_of_two_shapes_are_refused(images, tmp_path):
    with pytest.raises(ValueError, match="one shape"):
        write_report(tmp_path, **{**images, "after": images["after"][1:]}, summary={})


def test_what_is_measured_of_images_follows_from_their_sums():
    before = np.array([[1.0, 2.0], [3.0, 100.0]])
    after = np.array([[2.0, 2.0], [3.0, 0.0]])
    mask = np.array([[True, True], [True, False]])
    found = measure_frame(before, after, np.full((2, 2), 4.0), mask)
    assert found["valid_share"] == 0.75
    assert (found["total_before"], found["total_after"]) == (6, 7)
    assert found["total_change"] == pytest.approx(1 / 6)
    # residuals over σ = 2 are −1/2, 0 and 0
    assert found["residual_mean"] == pytest.approx(-1 / 6)
    assert found["residual_deviation"] == pytest.approx(np.std([-0.5, 0, 0]))


def test_a_frame_without_a_count_has_no_change_of_its_total():
    nothing = np.zeros((4, 4))
    found = measure_frame(nothing, nothing, nothing + 1, nothing == 0)
    assert np.isnan(found["total_change"])


def test_neighbors_that_are_alike_correlate():
    z = np.random.default_rng(0).normal(size=(200, 200))
    smooth = (z + np.roll(z, 1, 1)) / 2**0.5
    # along rows by one half, along columns not at all; four standard errors
    correlation = measure_residual(smooth)["residual_neighbor_correlation"]
    assert correlation == pytest.approx(0.25, abs=4 / 200)
