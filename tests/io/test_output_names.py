from pathlib import Path

import pytest

from tvjax.io.output_names import is_folder, name_of_output


@pytest.mark.parametrize(
    ("names", "output", "floats"),
    [
        (["scan_master.h5"], "scan_master.h5", "scan_master.h5"),
        (["scan.cxi"], "scan.h5", "scan.h5"),
        (["img_0001.cbf", "img_0002.cbf"], "img_####.cbf", "img.h5"),
        (["img_9.cbf.gz", "img_10.cbf.gz"], "img_#.cbf", "img.h5"),
        (["img_0007.cbf"], "img_0007.cbf", "img_0007.h5"),
        (["s_01.tif", "s_02.tif"], "s_##.tif", "s_##.tif"),
        (["x_001.edf", "x_002.edf"], "x.h5", "x.h5"),
        (["scan.0001", "scan.0002"], "scan.h5", "scan.h5"),
        (["run1_01.cbf", "run2_02.cbf"], "run.h5", "run.h5"),
        (["1.img", "2.img"], "raw.h5", "raw.h5"),
    ],
)
def test_outputs_are_called_as_their_inputs(names, output, floats):
    files = [Path("raw") / name for name in names]
    assert name_of_output(files) == output
    assert name_of_output(files, floats=True) == floats


def test_the_first_of_a_series_that_grows_has_no_number():
    assert name_of_output([Path("img_0001.cbf")], growing=True) == "img_####.cbf"


def test_a_folder_is_there_or_ends_in_a_slash(tmp_path):
    assert is_folder(tmp_path) and is_folder("new/") and is_folder(str(tmp_path))
    assert not is_folder("new") and not is_folder(tmp_path / "out.h5")
