import h5py
import numpy as np
import pytest

from tests.io.images import save_cbf, save_tiff
from tests.io.masters import write_data_file, write_master
from tvjax.io import FileError
from tvjax.io.grouping import alike_names, roots_among, series_among


def save_images(folder, names, image):
    return [save_tiff(folder / name, image) for name in names]


def test_names_that_differ_in_numbers_are_alike(tmp_path):
    names = ["a_1.cbf", "b_1.cbf", "a_22.cbf", "a_1.tif"]
    groups = alike_names(tmp_path / name for name in names)
    assert [[file.name for file in each] for each in groups] == [
        ["a_1.cbf", "a_22.cbf"],
        ["b_1.cbf"],
        ["a_1.tif"],
    ]


def test_the_last_number_counts_frames(tmp_path, image):
    names = ["run2_10.tif", "run1_2.tif", "run1_10.tif", "run2_9.tif"]
    groups = series_among(save_images(tmp_path, names, image))
    assert [[file.name for file in each] for each in groups] == [
        ["run2_9.tif", "run2_10.tif"],
        ["run1_2.tif", "run1_10.tif"],
    ]


def test_a_file_of_several_images_is_a_series(tmp_path, image):
    files = save_images(tmp_path, ["s_1.tif", "s_2.tif"], np.stack([image, image]))
    assert series_among(files) == [[files[0]], [files[1]]]


@pytest.mark.parametrize(
    "names",
    [["grid1_0001.tif", "grid2_0001.tif"], ["e_7.0.tif", "e_7.5.tif", "e_8.0.tif"]],
)
def test_what_is_no_clear_series_is_asked_about(tmp_path, image, names):
    files = save_images(tmp_path, names, image)
    with pytest.raises(FileError, match="name a pattern in quotes for each series"):
        series_among(files)


def test_an_image_alone_is_a_series(tmp_path, image):
    file = save_cbf(tmp_path / "img_0007.cbf", image)
    assert series_among([file]) == [[file]]


def test_what_a_master_leads_to_is_part_of_it(tmp_path, counts):
    master = write_master(tmp_path / "a_master.h5", counts)
    alone = write_data_file(tmp_path / "alone.h5", counts)
    files = sorted(tmp_path.iterdir())
    roots, parts = roots_among(files)
    assert roots == [master, alone]
    assert [each.name for each in parts] == [
        *(f"a_data_{number:06d}.h5" for number in (1, 2, 3)),
        "notes.h5",
    ]


def test_of_files_that_lead_to_each_other_the_first_counts(tmp_path):
    files = [tmp_path / name for name in ("x.h5", "y.h5", "z.h5")]
    for own, other in zip(files, [*files[1:], files[0]], strict=True):
        with h5py.File(own, "w") as file:
            file["there"] = h5py.ExternalLink(other.name, "/")
    assert roots_among(files) == ([files[0]], files[1:])


def test_a_damaged_file_leads_nowhere(tmp_path):
    (tmp_path / "bad.h5").write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(50))
    assert roots_among([tmp_path / "bad.h5"]) == ([tmp_path / "bad.h5"], [])
