import h5py
import pytest

from tests.io.masters import numbers
from tests.io.rewriting import counts_in, rewrite
from tvjax.io import FileError


def test_data_files_follow_the_name_of_the_master(clean):
    assert sorted(path.name for path in clean.parent.iterdir()) == [
        "clean_data_000001.h5",
        "clean_data_000002.h5",
        "clean_data_000003.h5",
        "clean_master.h5",
    ]


def test_one_frame_is_one_chunk_of_bitshuffle_and_lz4(clean):
    with h5py.File(clean.with_name("clean_data_000001.h5")) as file:
        images = file["entry/data/data"]
        assert images.chunks == (1, 20, 30)
        creation = images.id.get_create_plist()
        code, _, options, _ = creation.get_filter(0)
        assert (creation.get_nfilters(), code, options[4]) == (1, 32008, 2)


def of_one_name(folder, master="scan.h5"):
    for run in range(2):
        (folder / f"run{run}").mkdir()
        with h5py.File(folder / f"run{run}" / "eiger.h5", "w") as file:
            file["data"] = numbers(2, 2 * run)
    with h5py.File(folder / master, "w") as file:
        for run in range(2):
            file[f"entry/data/data_{run}"] = h5py.ExternalLink(
                f"run{run}/eiger.h5", "data"
            )
    return folder / master


@pytest.mark.parametrize("name", ["scan.h5", "eiger.h5"])
def test_data_files_of_one_name_are_kept_apart(tmp_path, name):
    source = of_one_name(tmp_path)
    rewrite(source, tmp_path / "clean" / name)
    assert counts_in(tmp_path / "clean" / name)[:, 0, 0].tolist() == [0, 1, 2, 3]
    assert (tmp_path / "clean/run1/eiger.h5").exists()


def test_data_files_in_folders_of_one_name_are_refused(tmp_path):
    for run in "ab":
        (tmp_path / run / "raw").mkdir(parents=True)
        with h5py.File(tmp_path / run / "raw" / "eiger.h5", "w") as file:
            file["data"] = numbers(2)
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        for number, run in enumerate("ab"):
            file[f"entry/data_{number}"] = h5py.ExternalLink(
                f"{run}/raw/eiger.h5", "data"
            )
    with pytest.raises(FileError, match="data files of one name"):
        rewrite(tmp_path / "scan.h5", tmp_path / "clean" / "scan.h5")


def test_the_only_threshold_keeps_its_axis(tmp_path, counts):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data_1"] = counts[:, None]
    rewrite(tmp_path / "a.h5", tmp_path / "b.h5", start=1, stop=3)
    with h5py.File(tmp_path / "b.h5") as file:
        assert file["entry/data/data_1"].shape == (2, 1, 20, 30)


def test_data_files_can_take_turns(tmp_path):
    for name in "ab":
        with h5py.File(tmp_path / f"{name}.h5", "w") as file:
            for number in range(2):
                file[f"data{number}"] = numbers(1, 2 * number + (name == "b"))
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        for number in range(4):
            file[f"entry/data_{number}"] = h5py.ExternalLink(
                f"{'ab'[number % 2]}.h5", f"data{number // 2}"
            )
    rewrite(tmp_path / "scan.h5", tmp_path / "clean" / "scan.h5")
    assert counts_in(tmp_path / "clean/scan.h5")[:, 0, 0].tolist() == [0, 1, 2, 3]
