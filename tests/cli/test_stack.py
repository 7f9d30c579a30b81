import h5py
import numpy as np
import pytest

from tests.pipeline.stand_ins import noisy, write_density, write_references
from tvjax.io import open_stack
from tvjax.simulate import nickel_energies, xanes_stack

pytestmark = pytest.mark.usefixtures("truncate")


@pytest.fixture(scope="module")
def scene():
    return xanes_stack((24, 28), energies=nickel_energies(20), num_states=2)


@pytest.fixture
def source(tmp_path, scene):
    return write_density(tmp_path / "raw.h5", scene)


def test_help(tvjax):
    result = tvjax("stack", "--help")
    assert result.exit_code == 0
    assert "--references" in result.stdout


def test_a_stack_is_denoised_and_summed_up(tvjax, source, tmp_path):
    result = tvjax("stack", source, "-o", tmp_path / "clean.h5")
    assert result.exit_code == 0, result.output
    for text in ("20 x 24 x 28", "rank       3 of 20, chosen", "residual", "clean.h5"):
        assert text in result.stdout
    assert result.stderr == ""
    with open_stack(tmp_path / "clean.h5") as stack:
        assert stack.shape == (20, 24, 28)


def test_every_option_reaches_the_output(tvjax, source, scene, tmp_path, truncate):
    np.save(tmp_path / "mask.npy", np.ones((24, 28), bool))
    references = write_references(tmp_path / "nickel.txt", scene).replace(
        "2,3,4", "2,4"
    )
    options = (
        f"--rank 2 --noise gaussian:0.02 --mask {tmp_path / 'mask.npy'} --axes EYX "
        f"--energies {source}:/entry/data/energy --dataset entry/data/data "
        f"--references {references} --map {tmp_path / 'map.h5'} --memory 1.5GB "
        f"--dtype float64 --overwrite --report {tmp_path / 'report'}"
    )
    result = tvjax("stack", source, "-o", tmp_path / "clean.h5", *options.split())
    assert result.exit_code == 0, result.output
    with h5py.File(tmp_path / "clean.h5") as file:
        assert file["entry/data/data"].dtype == np.float64
        assert file["entry/tvjax/rank"][()] == 2
    with h5py.File(tmp_path / "map.h5") as file:
        assert "valence" in file["entry"]
    (call,) = truncate.calls
    assert float(call["noise"].sigma) == pytest.approx(0.02)
    assert call["memory"] == 1_500_000_000
    for name in ("report.html", "map.png", "spectra.png", "components.png"):
        assert (tmp_path / "report" / name).exists()
    again = tvjax(
        "stack", source, "-o", tmp_path / "d.h5", "--report", tmp_path / "report"
    )
    assert again.exit_code == 1 and "holds a report" in again.stderr
    assert not (tmp_path / "d.h5").exists()


@pytest.mark.slow
def test_images_without_energies_have_a_report_without_maps(tvjax, tmp_path, scene):
    import tifffile

    for number, frame in enumerate(noisy(scene.truth)):
        tifffile.imwrite(tmp_path / f"raw_{number:03d}.tif", frame)
    clean, report = tmp_path / "clean.tif", tmp_path / "report"
    result = tvjax("stack", tmp_path / "raw_###.tif", "-o", clean, "--report", report)
    assert result.exit_code == 0, result.output
    assert tifffile.imread(clean).shape == (20, 24, 28)
    assert (report / "spectra.png").exists() and not (report / "map.png").exists()


def test_a_dry_run_writes_nothing(tvjax, source, tmp_path):
    result = tvjax("stack", source, "-o", tmp_path / "c.h5", "--dry-run")
    assert result.exit_code == 0, result.output
    assert not (tmp_path / "c.h5").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["missing.h5"], 1, "missing.h5 does not exist: check the name."),
        (["RAW", "--rank", "many"], 2, "`rank` must be auto or a whole number"),
        (["RAW", "--rank", "21"], 2, "`rank` must be at most the 20 energies"),
        (["RAW", "--memory", "much"], 2, "`memory` must be a size such as 2GB"),
        (["RAW", "--axes", "ABC"], 2, "`axes` must name energy, row and column"),
        (["RAW", "--references", "a.txt"], 2, "`references` are fitted for a `map`"),
        (["RAW", "--energies", "1:2:3"], 1, "1:2:3 has 3 energies"),
    ],
)
def test_an_error_is_one_sentence(
    tvjax, source, tmp_path, monkeypatch, arguments, code, sentence
):
    monkeypatch.chdir(tmp_path)
    arguments = [str(source) if text == "RAW" else text for text in arguments]
    result = tvjax("stack", *arguments, "-o", "clean.h5")
    assert result.exit_code == code
    assert sentence in result.stderr
    assert result.stderr.startswith("tvjax: ") and result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_an_interruption_is_one_sentence_and_leaves_nothing(
    tvjax, source, tmp_path, fit_by
):
    def interrupt(y, **options):
        raise KeyboardInterrupt

    fit_by(interrupt)
    result = tvjax("stack", source, "-o", tmp_path / "new" / "clean.h5")
    assert result.exit_code == 130
    assert result.stderr == "tvjax: Interrupted: nothing was written.\n"
    assert not list((tmp_path / "new").iterdir())
