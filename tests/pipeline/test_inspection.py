import h5py
import numpy as np
import pytest
import tifffile
from scipy.ndimage import gaussian_filter

from tvjax.io import FileError, save_series, save_stack, series_of, stack_of
from tvjax.io.series import Metadata
from tvjax.pipeline import inspect_files
from tvjax.settings import StackSettings

SHAPE = 6, 20, 30
ENERGIES = np.r_[700.0:710:2, 711]


@pytest.fixture
def counts():
    return np.random.default_rng(0).poisson(50.0, SHAPE).astype(np.uint16)


def inspect(source, frames=None, **settings):
    return inspect_files(source, StackSettings(**settings), frames=frames)


def test_a_scan_and_what_comes_next(tmp_path):
    counts = np.random.default_rng(0).poisson(2.0, (9, 20, 30)).astype(np.uint32)
    counts[:, 9:11] = 2**32 - 1
    scan = tmp_path / "scan_master.h5"
    save_series(scan, series_of(counts))
    facts = inspect(scan)
    assert facts["input"].endswith("scan_master.h5 (HDF5, 9 x 20 x 30)")
    assert facts["valid pixels"] == "90.00%"
    assert facts["mean"] == pytest.approx(2.0, rel=0.05)
    assert facts["noise"] == "Poisson, gain 1" and not facts["warnings"]
    assert float(facts["dispersion"].split(",")[0]) == pytest.approx(1.0, rel=0.1)
    assert facts["next"] == f"tvjax denoise {scan} -o clean/scan_master.h5"
    # nothing tells that these are no energies
    assert facts["or, of energies"].endswith("-o clean.h5 --energies none")
    assert not {"denoised by", "energies", "no energy stack"} & facts.keys()


@pytest.mark.parametrize("energies", [None, "700:710:6"])
def test_what_is_doubtful_about_a_file_is_told(tmp_path, counts, energies):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = counts
        file["entry/detector/pixel_mask"] = np.zeros((7, 7), np.uint32)
    facts = inspect(tmp_path / "a.h5", energies=energies)
    assert any("pixel_mask of the shape (7, 7)" in text for text in facts["warnings"])


def test_an_energy_stack_in_hdf5(tmp_path, counts):
    source = tmp_path / "raw.h5"
    save_stack(source, stack_of(counts, ENERGIES))
    facts = inspect(source)
    assert facts["axes"] == "energy, y, x"
    assert facts["energies"] == "6 from 700 to 711 eV, 2 to 3 eV apart"
    assert facts["type"] == "float32"
    assert facts["in memory"] == "14.4 kB as float32, fits the 2 GB of --memory"
    assert facts["flats"] == facts["darks"] == "none in the file"
    assert facts["next"] == f"tvjax stack {source} -o clean.h5"


def test_unusual_noise_is_told_with_the_warnings_of_its_diagnosis(tmp_path):
    white = np.random.default_rng(1).normal(size=(2, 96, 97))
    blurred = 50 + gaussian_filter(white, (0, 0.7, 0.7))
    tifffile.imwrite(tmp_path / "blurred.tif", blurred.astype(np.float32))
    facts = inspect(tmp_path / "blurred.tif")
    assert facts["noise"].startswith("Correlated")
    assert {"scale ratio", "correlation", "confidence"} <= facts.keys()
    assert len(facts["warnings"]) == 1 and "alike" in facts["warnings"][0]


def test_a_detector_that_counts_has_gain_one_whatever_its_frames_look_like(tmp_path):
    doubled = 2.3 * np.random.default_rng(2).poisson(30.0, (2, 64, 64))
    series = series_of(
        np.round(doubled).astype(np.uint32), metadata=Metadata(detector="EIGER 1M")
    )
    save_series(tmp_path / "scan_master.h5", series)
    facts = inspect(tmp_path / "scan_master.h5")
    assert facts["noise"] == "Poisson, gain 1"
    assert facts["dispersion"].startswith("2.")


def test_energies_of_different_noise_are_not_taken_for_uneven_noise(tmp_path):
    sigma = np.asarray([1.0, 2.0, 4.0, 1.0, 2.0, 4.0])[:, None, None]
    noisy = 50 + sigma * np.random.default_rng(3).normal(size=(6, 96, 96))
    save_stack(tmp_path / "raw.h5", stack_of(noisy.astype(np.float32), ENERGIES))
    facts = inspect(tmp_path / "raw.h5")
    assert facts["noise"].startswith("Gaussian") and not facts["warnings"]


def test_images_too_small_for_their_noise_are_told_of_all_the_same(tmp_path):
    line = np.arange(40, dtype=np.float32).reshape(1, 1, 40)
    save_series(tmp_path / "line.h5", series_of(line))
    facts = inspect(tmp_path / "line.h5")
    assert "at least 2 x 2" in facts["noise"] and facts["mean"] == 19.5


def test_flats_are_found_beside_an_nxstxm_signal(tmp_path, counts):
    source = tmp_path / "raw.hdf5"
    with h5py.File(source, "w") as file:
        signal = file.create_group("entry1/counter0")
        signal.attrs.update(NX_class="NXdata", signal="data")
        signal.attrs["axes"] = ["sample_y", "sample_x", "energy"]
        signal["data"] = counts.transpose(1, 2, 0)
        signal["energy"] = ENERGIES / 1000
        signal["energy"].attrs["units"] = "keV"
        file["entry1/control/data"] = counts.transpose(1, 2, 0) * 3
        file["entry1/dark"] = np.ones(SHAPE[1:])
        file["entry1/flatfield"] = np.ones(SHAPE[1:])
    facts = inspect(source)
    assert (facts["axes"], facts["type"]) == ("y, x, energy", "uint16")
    assert facts["energies"].startswith("6 from 700 to 711 eV")
    assert facts["flats"] == f"{source}:/entry1/control/data"
    assert facts["darks"] == f"{source}:/entry1/dark"
    assert facts["next"].endswith(f"--flat {facts['flats']} --dark {facts['darks']}")


@pytest.mark.parametrize("many", [False, True])
def test_images_are_a_stack_where_energies_are_given(tmp_path, counts, many):
    if many:
        for number, frame in enumerate(counts):
            tifffile.imwrite(tmp_path / f"raw_{number}.tif", frame)
        source = str(tmp_path / "raw_#.tif")
    else:
        source = str(tmp_path / "raw.tif")
        tifffile.imwrite(source, counts)
    assert inspect(source)["axes"] == "frame, y, x"
    facts = inspect(source, energies="700:710:6", memory=10_000)
    assert facts["energies"] == "6 from 700 to 710 eV, 2 eV apart"
    assert "more than the 10 kB of --memory: read in blocks" in facts["in memory"]
    assert facts["next"].startswith("tvjax stack ")
    assert facts["next"].endswith("--energies 700:710:6")


def test_a_stack_that_fits_but_for_its_registration(tmp_path, counts):
    save_stack(tmp_path / "raw.h5", stack_of(counts, ENERGIES))
    fact = inspect(tmp_path / "raw.h5", memory=20_000)["in memory"]
    assert fact.endswith("fits the 20 kB of --memory, but --register takes 57.6 kB")


def test_flats_that_are_named_are_looked_at(tmp_path, counts):
    source, flat = tmp_path / "raw.h5", tmp_path / "flat.h5"
    save_stack(source, stack_of(counts, ENERGIES))
    save_stack(flat, stack_of(counts[:3, 1:]))
    with pytest.raises(FileError, match="has the shape 3 x 19 x 30, the stack has 6"):
        inspect(source, flat=str(flat))
    save_stack(flat, stack_of(counts), overwrite=True)
    assert inspect(source, flat=str(flat))["next"].endswith(f"--flat {flat}")


def test_energies_that_make_no_stack_are_told(tmp_path, counts):
    save_stack(tmp_path / "raw.h5", stack_of(counts, np.full(6, 700.0)))
    facts = inspect(tmp_path / "raw.h5")
    assert "repeats the energy 700 eV" in facts["no energy stack"]
    assert facts["next"].startswith("tvjax denoise ")
    with pytest.raises(FileError, match="has 5 energies"):
        inspect(tmp_path / "raw.h5", energies="700:710:5")


def test_a_range_of_frames_makes_it_a_scan(tmp_path, counts):
    save_stack(tmp_path / "raw.h5", stack_of(counts, ENERGIES))
    facts = inspect(tmp_path / "raw.h5", frames="0:2")
    assert facts["axes"] == "frame, y, x"


def test_what_was_denoised_is_told_and_nothing_comes_next(tmp_path, counts):
    from tvjax.io import create_stack

    stack = stack_of(counts, ENERGIES)
    with create_stack(tmp_path / "clean.h5", stack) as writer:
        for frame in stack.series.frames():
            writer.write(frame.data.astype(np.float32), frame)
        writer.finish(None)
    facts = inspect(tmp_path / "clean.h5")
    assert facts["denoised by"].startswith("tvjax")
    assert "next" not in facts
