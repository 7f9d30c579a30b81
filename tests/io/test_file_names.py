from pathlib import Path

import pytest

from tvjax.io import FileError
from tvjax.io.file_names import (
    check_order,
    expand,
    follow,
    frame_numbers,
    later,
    missing_numbers,
    numbered,
    pattern_of,
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


@pytest.mark.parametrize("pattern", ["*.tif", "img_*.tif", "img_?*.tif", "**.tif"])
def test_numbers_without_leading_zeros_come_in_their_order(tmp_path, pattern):
    touch(tmp_path, *(f"img_{number}.tif" for number in range(1, 13)))
    found = names(expand(str(tmp_path / pattern)))
    assert found == [f"img_{number}.tif" for number in range(1, 13)]


def test_folders_come_in_the_order_of_their_numbers(tmp_path):
    for number in (1, 2, 10):
        (tmp_path / f"run{number}").mkdir()
        touch(tmp_path / f"run{number}", "a9.tif", "a10.tif")
    found = expand(str(tmp_path / "run*" / "*.tif"))
    assert [str(path.relative_to(tmp_path)) for path in found] == [
        f"run{run}/a{number}.tif" for run in (1, 2, 10) for number in (9, 10)
    ]


def test_several_stems_come_one_after_the_other(tmp_path):
    touch(tmp_path, "b_1.tif", "a_10.tif", "a_9.tif")
    found = names(expand(str(tmp_path / "*.tif")))
    assert found == ["a_9.tif", "a_10.tif", "b_1.tif"]


@pytest.mark.parametrize(
    "double", [("a_9.tif", "a_09.tif"), ("a_9.cbf", "a_9.cbf.gz", "a_10.cbf")]
)
def test_two_files_of_one_number_are_refused(tmp_path, double):
    touch(tmp_path, *double)
    with pytest.raises(FileError, match="have one number: name a pattern"):
        expand(str(tmp_path / "a_*"))


def test_fractions_are_in_order_or_refused(tmp_path):
    touch(tmp_path, "e_8324.0_eV.tif", "e_8324.5_eV.tif", "e_999.0_eV.tif")
    found = names(expand(str(tmp_path / "e_*.tif")))
    assert found == ["e_999.0_eV.tif", "e_8324.0_eV.tif", "e_8324.5_eV.tif"]
    touch(tmp_path, "e_8324.25_eV.tif")
    with pytest.raises(FileError, match="order is not clear: name all files"):
        expand(str(tmp_path / "e_*.tif"))


@pytest.mark.parametrize(
    "given",
    [
        ["img_1.tif", "img_10.tif", "img_2.tif"],
        ["img_10.tif", "img_1.tif", "img_2.tif"],  # as in English: signs do not count
    ],
)
def test_a_list_in_the_order_of_a_shell_is_refused(given):
    with pytest.raises(FileError, match="10 is before 2: put the pattern in quotes"):
        check_order([Path(name) for name in given])


@pytest.mark.parametrize(
    "given",
    [
        ["img_1.tif", "img_2.tif", "img_10.tif"],
        ["img_010.tif", "img_008.tif"],
        ["flat.tif", "dark.tif", "a_2.tif"],
    ],
)
def test_any_other_list_is_in_its_own_order(given):
    check_order([Path(name) for name in given])


def test_a_file_named_twice_is_refused():
    with pytest.raises(FileError, match="a_1.tif is named twice"):
        check_order([Path("a_1.tif"), Path("a_2.tif"), Path("a_1.tif")])


@pytest.mark.parametrize(
    ("given", "numbers"),
    [
        (["x_8.cbf", "x_10.cbf"], (8, 10)),
        (["x_0008.cbf.gz", "x_0010.cbf"], (8, 10)),
        (["x_1_8_m.cbf", "x_1_9_m.cbf"], (8, 9)),
        (["r1/x.cbf", "r3/x.cbf"], (1, 3)),
        (["x_10.cbf", "x_8.cbf"], None),  # do not rise
        (["x_1_8.cbf", "x_2_9.cbf"], None),  # two numbers
        (["x_8.cbf", "y_9.cbf"], None),
        (["x.cbf", "y.cbf"], None),
        (["x.cbf"], None),
    ],
)
def test_numbers_are_what_tells_names_apart(given, numbers):
    assert frame_numbers([Path(name) for name in given]) == numbers


@pytest.mark.parametrize(
    ("numbers", "words"),
    [
        ((1, 2, 3), ""),
        ((5, 10, 15), ""),
        ((1, 2, 4, 5), "3"),
        ((1, 2, 4, 8, 9), "3, 5 to 7"),
        (tuple(n for n in range(30) if n % 3), "3, 6, 9, 12, 15, 18, 21, 24, …"),
    ],
)
def test_missing_numbers_in_words(numbers, words):
    assert missing_numbers(numbers) == words


def test_later_files_are_those_of_the_same_series(tmp_path):
    touch(tmp_path, "a_08.cbf", "a_09.cbf", "a_011.cbf", "a_100.cbf", "b_10.cbf")
    assert names(later(tmp_path / "a_08.cbf")) == ["a_09.cbf", "a_100.cbf"]


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
    assert names(numbered(Path("x_##.tif"), [1, 2])) == ["x_01.tif", "x_02.tif"]
    assert names(numbered(Path("x.tif"), range(1, 3))) == ["x_00001.tif", "x_00002.tif"]
    assert unnumbered_stem(Path("x_##.tif")) == unnumbered_stem(Path("x.tif")) == "x"


def test_a_path_follows_the_last_colon_unless_the_file_exists(tmp_path):
    assert split_path("a.h5:/entry/data") == (Path("a.h5"), "/entry/data")
    assert split_path("a.h5") == (Path("a.h5"), None)
    touch(tmp_path, "a:b")
    assert split_path(str(tmp_path / "a:b")) == (tmp_path / "a:b", None)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["a_01.cbf", "a_02.cbf"], "a_##.cbf"),
        (["a_9.cbf.gz", "a_10.cbf.gz"], "a_#.cbf"),
        (["a_1_x7.cbf", "a_2_x7.cbf"], "a_#_x7.cbf"),
        (["a_1_x7.cbf", "a_2_x8.cbf"], None),
        (["a_1.cbf", "b_1.cbf"], None),
        (["a_1.cbf"], None),
    ],
)
def test_a_pattern_names_the_number_that_tells_files_apart(names, pattern):
    assert pattern_of([Path("raw") / name for name in names]) == pattern
