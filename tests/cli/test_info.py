import numpy as np
import tifffile
from scipy.ndimage import gaussian_filter

from tvjax.io import save_stack, stack_of


def test_info_tells_what_is_in_a_file_and_what_tvjax_runs_on(tvjax, scan):
    result = tvjax("info", scan)
    assert result.exit_code == 0, result.output
    for text in ("4 x 40 x 50", "uint32", "95.00%", "Poisson, gain 1", "jax", "0.1.0"):
        assert text in result.stdout
    assert f"tvjax denoise {scan} -o clean/scan_master.h5\n" in result.stdout


def test_info_tells_of_energy_stacks(tvjax, tmp_path):
    counts = np.random.default_rng(0).poisson(50.0, (4, 12, 14))
    save_stack(tmp_path / "raw.h5", stack_of(counts.astype(np.uint16)))
    options = "--energies", "700:706:4", "--memory", "1kB"
    result = tvjax("info", tmp_path / "raw.h5", *options)
    assert result.exit_code == 0, result.output
    for text in ("4 x 12 x 14", "4 from 700 to 706 eV, 2 eV", "read in blocks"):
        assert text in result.stdout
    command = f"tvjax stack {tmp_path / 'raw.h5'} -o clean.h5 --energies 700:706:4\n"
    assert command in result.stdout


def test_info_warns_of_noise_that_is_not_what_it_seems(tvjax, tmp_path):
    white = np.random.default_rng(1).normal(size=(2, 96, 97))
    blurred = 50 + gaussian_filter(white, (0, 0.7, 0.7))
    tifffile.imwrite(tmp_path / "blurred.tif", blurred.astype(np.float32))
    result = tvjax("info", tmp_path / "blurred.tif")
    assert result.exit_code == 0, result.output
    (line,) = [x for x in result.stdout.splitlines() if x.startswith("WARNING")]
    assert "alike" in line and "scale ratio" in result.stdout


def test_info_refuses_in_one_sentence(tvjax, scan):
    result = tvjax("info", scan, "--energies", "700:706:5")
    assert result.exit_code == 1
    assert "700:706:5 has 5 energies" in result.stderr
    assert result.stderr.count("\n") == 1 and result.stdout == ""
