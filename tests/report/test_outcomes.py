import json
from pathlib import Path

import numpy as np
import pytest

from tests.pipeline.stand_ins import (
    Halve,
    noisy,
    save_frames,
    Truncate,
    write_density,
)
from tvjax.frames import Curve
from tvjax.io import FileError
from tvjax.pipeline import denoise_files, denoise_stack_files
from tvjax.pipeline.demo import StackErrors
from tvjax.pipeline.symmetry import SymmetryOutcome
from tvjax.report import (
    refuse_report,
    report_frames,
    report_stack,
    report_symmetry,
)
from tvjax.settings import StackSettings
from tvjax.simulate import nickel_energies, xanes_stack
from tvjax.symmetry import choose_symmetry


def numbers(page):
    return json.loads(page.with_name("report.json").read_text())


def pictures(page):
    return {file.name for file in page.parent.glob("*.png")}


class WithCurve(Halve):
    """A stand-in that knows the risk at three strengths."""

    def __call__(self, y, **options):
        curve = Curve(np.array([0.1, 0.3, 1.0]), np.array([2.0, 1.0, 3.0]))
        return super().__call__(y, **options)._replace(curve=curve)


@pytest.fixture
def scan(tmp_path):
    counts = np.random.default_rng(0).poisson(2.0, (3, 40, 50)).astype(np.uint32)
    return save_frames(tmp_path / "raw" / "scan.h5", counts)


def test_a_scan_is_reported_by_its_example_and_its_risk(scan, tmp_path):
    outcome = denoise_files(scan, tmp_path / "c.h5", denoise=WithCurve())
    page = report_frames(tmp_path / "report", outcome)
    found = numbers(page)
    assert found["curve"]["risks"] == [2, 1, 3]
    assert found["curve"]["chosen"] == 0.25
    assert found["curve"]["oracle"] is None
    example = outcome.example
    assert found["summary"]["example frame"] == example.frame
    assert found["measured"]["total_before"] == example.before[example.mask].sum()
    # half of the counts were taken away
    assert found["measured"]["total_change"] == pytest.approx(-0.5)
    assert "risk.png" in pictures(page)
    assert found["summary"]["diagnosis"] == outcome.diagnosis.asdict()
    assert "| diagnosis, dispersion | 1.0" in page.with_suffix(".md").read_text()


def test_the_truth_is_drawn_where_it_is_known(scan, tmp_path):
    outcome = denoise_files(scan, tmp_path / "c.h5", denoise=WithCurve())
    truth = np.full(outcome.example.before.shape, 2.0)
    page = report_frames(
        tmp_path / "report", outcome, truth=truth, errors=lambda alphas: alphas**2
    )
    found = numbers(page)
    np.testing.assert_allclose(found["curve"]["oracle"], [0.01, 0.09, 1])
    error = (outcome.example.before - truth)[outcome.example.mask]
    assert found["measured"]["true_mse_before"] == pytest.approx(np.mean(error**2))


def test_a_strength_for_each_frame_has_no_curve(scan, tmp_path):
    outcome = denoise_files(scan, tmp_path / "c.h5", denoise=Halve())
    page = report_frames(tmp_path / "report", outcome)
    assert numbers(page)["curve"] is None and "risk.png" not in pictures(page)


@pytest.mark.slow
def test_patterns_are_reported_with_their_symmetry(scan, tmp_path):
    denoised = denoise_files(scan, tmp_path / "c.h5", denoise=Halve())
    y, x = np.indices((40, 50))
    rings = 20 + 10 * np.cos(np.hypot(y - 19.5, x - 24.5) / 3)
    counts = np.random.default_rng(0).poisson(rings).astype(np.int32)
    choice = choose_symmetry(counts, group="friedel", centre=(19.5, 24.5))
    outcome = SymmetryOutcome(
        output=Path("c.h5"),
        source="x",
        seconds=1.0,
        denoised=denoised,
        choice=choice,
        num_alone=0,
    )
    page = report_symmetry(tmp_path / "report", outcome)
    found = numbers(page)
    assert found["summary"]["symmetry"]["group"] == "friedel"
    agreement = choice.agreement
    seen = agreement.freedom > 0
    np.testing.assert_allclose(
        found["agreement"]["ratio"], (agreement.chi_squared / agreement.freedom)[seen]
    )
    assert len(found["profile"]["radius"]) > 20
    assert {"agreement.png", "profile.png"} < pictures(page)
    alone = choice._replace(centre=None, agreement=None)
    other = SymmetryOutcome(**{**vars(outcome), "choice": alone})
    page = report_symmetry(tmp_path / "report", other, overwrite=True)
    assert numbers(page)["summary"]["symmetry"] == {"group": "none", "frames_alone": 0}
    assert pictures(page) == {"before_after.png", "residual.png"}


def test_a_stack_is_reported_beside_the_truth(tmp_path):
    scene = xanes_stack(
        (24, 28), energies=nickel_energies(20), num_states=3, arrangement="gradient"
    )
    source = write_density(tmp_path / "raw.h5", scene)
    outcome = denoise_stack_files(
        source, tmp_path / "clean.h5", fit=Truncate(), compare=True
    )
    frame, rank = outcome.evidence.frame, outcome.components.rank
    errors = StackErrors(before=1.0, by_rank=np.array([0.5, 0.2, 0.1, 0.1]))
    page = report_stack(tmp_path / "report", outcome, scene=scene, errors=errors)
    found = numbers(page)
    assert found["measured"]["frame"] == f"Frame {frame} at " + (
        f"{scene.energies[frame]:.2f} eV"
    )
    before = noisy(scene.truth)[frame] - scene.truth[frame]
    assert found["measured"]["true_rmse_before"] == pytest.approx(
        np.sqrt(np.mean(before**2)), rel=1e-5
    )
    assert found["summary"]["true gain, dB"] == errors.gain(rank) == 10
    assert found["summary"]["true map rmse after"] > 0
    assert "map.png" in pictures(page) and "shifts.png" not in pictures(page)


@pytest.mark.slow
def test_a_stack_is_reported_with_the_noise_of_a_frame(tmp_path):
    scene = xanes_stack((48, 56), energies=nickel_energies(16), num_states=2)
    pattern = 0.3 * np.random.default_rng(5).normal(size=(48, 56))
    source = write_density(tmp_path / "raw.h5", scene, noisy(scene.truth) + pattern)
    settings = StackSettings(rank=1)
    outcome = denoise_stack_files(source, tmp_path / "clean.h5", settings)
    (shared,) = [text for text in outcome.warnings if "all of them share" in text]
    page = report_stack(tmp_path / "report", outcome)
    found = numbers(page)
    assert found["summary"]["diagnosis"] == outcome.components.diagnosis.asdict()
    assert shared in page.with_suffix(".md").read_text()


def test_a_stack_without_maps_has_no_picture_of_them(tmp_path):
    scene = xanes_stack((24, 28), energies=nickel_energies(20), num_states=3)
    source = write_density(tmp_path / "raw.h5", scene)
    outcome = denoise_stack_files(source, tmp_path / "clean.h5", fit=Truncate())
    page = report_stack(tmp_path / "report", outcome)
    assert "map.png" not in pictures(page)
    assert "true_rmse_after" not in numbers(page)["measured"]


def test_a_report_is_refused_before_the_work(scan, tmp_path):
    refuse_report(tmp_path / "report", overwrite=False)
    outcome = denoise_files(scan, tmp_path / "c.h5", denoise=Halve())
    report_frames(tmp_path / "report", outcome)
    with pytest.raises(FileError, match="holds a report: choose another or pass"):
        refuse_report(tmp_path / "report", overwrite=False)
    refuse_report(tmp_path / "report", overwrite=True)
