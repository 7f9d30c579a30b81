from pathlib import Path

import pytest

from tvjax.io import FileError
from tvjax.io.file_names import (
    expand,
    follow,
    numbered,
    split_path,
    unnumbered_stem,
)


def touch(folder, *names):
    for name in names:
        (folder / name).touch()


def names(paths):
    return [path.name for path in paths]


def test_a_pattern_means_the_files_that_match_in_order(tmp_path):
    touch(tmp_path, "a_10.cbf", "a_09.cbf", "a_9.cbf", "a_xy.cbf")
    assert names(expand(str(tmp_path / "a_##.cbf"))) == ["a_09.cbf", "a_10.cbf"]
    assert names(expand(str(tmp_path / "a_[x]?.cbf"))) == ["a_xy.cbf"]


def test_an_existing_file_is_no_pattern(tmp_path):
    touch(tmp_path, "a[1].cbf", "a1.cbf")
    assert names(expand(str(tmp_path / "a[1].cbf"))) == ["a[1].cbf"]


def test_a_pattern_that_nothing_matches_is_refused(tmp_path):
    with pytest.raises(FileError, match="No file matches .*b_#.cbf: check the folder"):
        expand(str(tmp_path / "b_#.cbf"))


@pytest.mark.parametrize(
    ("name", "next_one"),
    [
        ("a1_009.cbf", "a1_010.cbf"),
        ("a_009.cbf.gz", "a_010.cbf.gz"),
        ("scan.0009", "scan.0010"),
        ("9.h5x", "10.h5x"),
    ],
)
def test_the_last_number_before_the_extension_counts(tmp_path, name, next_one):
    touch(tmp_path, name, next_one)
    assert names(follow(tmp_path / name)) == [name, next_one]


def test_a_name_without_a_number_is_alone(tmp_path):
    assert names(follow(tmp_path / "image.tif")) == ["image.tif"]


def test_numbers_take_the_place_of_signs_or_follow_the_name():
    assert names(numbered(Path("x_##.tif"), 2)) == ["x_01.tif", "x_02.tif"]
    assert names(numbered(Path("x.tif"), 2)) == ["x_00001.tif", "x_00002.tif"]
    assert unnumbered_stem(Path("x_##.tif")) == unnumbered_stem(Path("x.tif")) == "x"


def test_a_path_follows_the_last_colon_unless_the_file_exists(tmp_path):
    assert split_path("a.h5:/entry/data") == (Path("a.h5"), "/entry/data")
    assert split_path("a.h5") == (Path("a.h5"), None)
    touch(tmp_path, "a:b")
    assert split_path(str(tmp_path / "a:b")) == (tmp_path / "a:b", None)
