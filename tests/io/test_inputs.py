import numpy as np
import pytest

from tests.io.images import save_cbf, save_edf, save_tiff
from tests.io.masters import write_data_file, write_master
from tvjax.io import FileError
from tvjax.io.inputs import (
    find_inputs,
    named_as_image,
    names_several,
    read_list,
    single_input,
)


@pytest.fixture
def folder(tmp_path, counts, image):
    """Two masters, a series of CBF and one of EDF, pages, and what is no image."""
    folder = tmp_path / "raw"
    (folder / "deeper").mkdir(parents=True)
    for name in "BA":
        write_master(folder / f"{name}_master.h5", counts)
    for number in (9, 10, 11):
        save_cbf(folder / f"img_{number}.cbf", image)
        save_edf(folder / f"x_{number:03d}.edf", image)
    save_tiff(folder / "pages.tif", np.stack([image, image]))
    save_cbf(folder / ".hidden_1.cbf", image)
    save_cbf(folder / "deeper" / "far_1.cbf", image)
    (folder / "notes.txt").write_text("a crystal")
    (folder / "script.py").write_text("print()")
    return folder


def labels(inputs):
    return [each.label.rpartition("/")[2] for each in inputs.found]


def test_a_folder_holds_masters_and_series(folder):
    inputs = find_inputs(folder)
    assert labels(inputs) == [
        *("A_master.h5", "B_master.h5", "img_#.cbf", "pages.tif", "x_###.edf")
    ]
    assert [len(each.files) for each in inputs.found] == [1, 1, 3, 1, 3]
    assert [file.name for file in inputs.found[2].files] == [
        *("img_9.cbf", "img_10.cbf", "img_11.cbf")
    ]
    assert all(each.sought for each in inputs.found)
    (sentence,) = inputs.left_out  # data files, and what both masters link to
    assert "A_data_000001.h5 and 6 more are no inputs of their own" in sentence


def test_files_that_a_shell_names_are_sorted_as_those_of_a_folder(folder):
    inputs = find_inputs(sorted(map(str, folder.glob("[!.]*.*"))))
    found = [name for name in labels(inputs) if name not in ("notes.txt", "script.py")]
    assert found[:2] == ["A_master.h5", "B_master.h5"] and len(found) == 5
    assert not any(each.sought for each in inputs.found)


def test_a_pattern_is_one_series_whatever_its_names(tmp_path, image):
    for name in ("grid1_0001.cbf", "grid2_0001.cbf"):
        save_cbf(tmp_path / name, image)
    pattern = str(tmp_path / "grid#_0001.cbf")
    (only,) = find_inputs(pattern).found
    assert only.names == (pattern,) and len(only.files) == 2
    named = find_inputs(sorted(tmp_path.iterdir()))
    assert not named.found
    assert "may be frames of one series or of several" in named.refused[0][1]


def test_a_pattern_of_masters_is_several(folder):
    inputs = find_inputs(str(folder / "*_master.h5"))
    assert labels(inputs) == ["A_master.h5", "B_master.h5"]


def test_what_is_damaged_is_an_input_and_what_is_missing_too(tmp_path):
    (tmp_path / "cut.cbf").write_bytes(b"###CBF: VERSION 1.5")
    (tmp_path / "empty.h5").touch()
    assert labels(find_inputs(tmp_path)) == ["cut.cbf", "empty.h5"]
    assert labels(find_inputs([tmp_path / "gone.h5"])) == ["gone.h5"]
    assert "No file matches" in find_inputs(str(tmp_path / "no_*.h5")).refused[0][1]


def test_files_of_another_purpose_are_no_inputs(folder):
    besides = [folder / "pages.tif", folder / "deeper" / ".." / "B_master.h5"]
    found = labels(find_inputs(folder, besides=besides))
    assert found[:2] == ["A_master.h5", "img_#.cbf"] and "pages.tif" not in found


def test_a_list_names_inputs_from_here_or_from_its_folder(
    folder, tmp_path, monkeypatch
):
    names = tmp_path / "raw" / "list.txt"
    names.write_text(
        f"\ufeff# two of them\n{folder / 'A_master.h5'}\n\nB_master.h5  \nimg_##.cbf\n",
        encoding="utf-8",
    )
    monkeypatch.chdir(tmp_path)
    inputs = find_inputs(f"@{names}")
    assert labels(inputs) == ["img_##.cbf", "A_master.h5", "B_master.h5"]
    monkeypatch.chdir(folder)
    assert read_list(names)[1] == "B_master.h5"


@pytest.mark.parametrize("content", [b"\x00\x01", b"\xff\xfe\x00", b"\x89HDF\r\n\0"])
def test_what_is_no_list_is_refused(tmp_path, content):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(FileError, match="is no list of files: write one name a line"):
        read_list(tmp_path / "list")


def test_a_list_that_is_missing_is_told(tmp_path):
    with pytest.raises(FileError, match=r"gone\.txt does not exist: check the name"):
        find_inputs(f"@{tmp_path / 'gone.txt'}")


def test_a_folder_without_images_is_told(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    with pytest.raises(FileError, match="holds no images: name files, or the folder"):
        find_inputs(tmp_path)


def test_names_ask_for_several_by_a_folder_a_list_or_masters(folder):
    masters = [str(folder / f"{name}_master.h5") for name in "AB"]
    assert names_several([str(folder)]) and names_several(["@list.txt"])
    assert names_several(masters) and names_several([str(folder / "*_master.h5")])
    assert not names_several(masters[:1])
    assert not names_several([str(folder / "img_9.cbf"), str(folder / "img_10.cbf")])


def test_one_output_needs_one_input(folder, tmp_path, counts):
    with pytest.raises(FileError, match="holds 5 inputs: write them into a folder"):
        single_input([str(folder)])
    images = [str(folder / "img_9.cbf"), str(folder / "x_009.edf")]
    assert single_input(images) == images  # as they always were: frames of one series
    (tmp_path / "one").mkdir()
    path = write_data_file(tmp_path / "one" / "a.h5", counts)
    assert single_input([str(tmp_path / "one")]) == [str(path)]


@pytest.mark.parametrize(
    "name", ["a.h5", "A.CBF", "a.tif.gz", "a.img.bz2", "a.mar2300"]
)
def test_images_are_known_by_their_names(tmp_path, name):
    assert named_as_image(tmp_path / name)
    assert not named_as_image(tmp_path / f"{name}.txt")
