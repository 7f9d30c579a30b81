"""An output that shows something else than what was denoised gets no name."""

import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from tests.io.masters import write_master
from tests.io.stacks import ENERGIES, frames, write_nxstxm
from tvjax.io import (
    create_series,
    FileError,
    open_series,
    open_stack,
    prove_maps,
    save_series,
    save_stack,
    Series,
    series_of,
    stack_of,
)
from tvjax.io.hdf5.chunks import ImageWriter
from tvjax.io.hdf5.write_frames import Hdf5Sink, OMEGA
from tvjax.io.hdf5.write_stack import StackSink
from tvjax.io.invalid_values import InvalidValues
from tvjax.io.proof import COMPARED
from tvjax.io.series import Metadata
from tvjax.io.staging import Staging
from tvjax.io.tiff import TiffSink

OUTPUTS = ["clean_master.h5", "clean.h5", "clean.cbf", "clean.tif"]


def write(series, output, **options):
    with create_series(output, series, **options) as writer:
        for frame in series.frames(options.get("start", 0), options.get("stop")):
            writer.write(frame.data.astype(float), frame)
        writer.finish()


def refused(output, reason):
    return pytest.raises(FileError, match=f"{output}.* got no name: .*{reason}")


def damage_before_naming(monkeypatch, damage):
    """Let `damage` do its work on the complete files, which have no names yet."""
    commit = Staging.commit

    def damaged(self, *arguments):
        for file in self._staged.values():
            file.close()
        damage(sorted(self._output.parent.glob(".*.partial")))
        commit(self, *arguments)

    monkeypatch.setattr(Staging, "commit", damaged)


def finish_with(monkeypatch, sink, change):
    """Let `change` have the master when all is written."""
    finish = sink.finish

    def changed(self, provenance):
        finish(self, provenance)
        change(self._master if isinstance(self, Hdf5Sink) else self._file)

    monkeypatch.setattr(sink, "finish", changed)


@pytest.fixture
def like(master):
    with open_series(master) as series:
        yield series


@pytest.mark.parametrize("name", [*OUTPUTS, "clean_##.tif"])
def test_what_is_in_order_gets_its_name(like, tmp_path, name):
    folder = tmp_path / "out"
    write(like, folder / name)
    assert not list(folder.glob(".*"))


def test_frames_that_changed_places_are_found(like, tmp_path, monkeypatch):
    usual = ImageWriter.write

    def swapped(self, index, stored):
        one_frame = self._shape[0] == 1
        usual(self, index if one_frame else {0: 1, 1: 0}.get(index, index), stored)

    monkeypatch.setattr(ImageWriter, "write", swapped)
    with refused("out/clean_master.h5", "frame 0 has other values"):
        write(like, tmp_path / "out" / "clean_master.h5")
    assert not list((tmp_path / "out").iterdir())


def swap(files):
    first, second = (each for each in files if "_0000" in each.name and each.is_file())
    os.rename(first, first.with_name("other"))
    os.rename(second, first)
    os.rename(first.with_name("other"), second)


@pytest.mark.parametrize("name", ["clean.cbf", "clean.tif"])
def test_files_that_changed_places_are_found(counts, tmp_path, monkeypatch, name):
    damage_before_naming(monkeypatch, swap)
    with refused("clean", "frame 0 has other values"):
        write(series_of(counts[:2]), tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_empty_frame_in_place_of_one_is_found(like, tmp_path, monkeypatch, name):
    output = tmp_path / "out" / name
    with pytest.raises(FileError, match="frame 5 has other values"):
        with create_series(output, like) as writer:
            usual = writer._sink.append

            def lose(stored, frame):
                usual(0 * stored if frame.index == 5 else stored, frame)

            monkeypatch.setattr(writer._sink, "append", lose)
            for frame in like.frames():
                writer.write(frame.data.astype(float), frame)
            writer.finish()
    assert not list(output.parent.iterdir())


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_frame_that_never_came_is_found(like, tmp_path, name):
    with refused("clean", "6 of 7 frames were handed over"):
        with create_series(tmp_path / "out" / name, like) as writer:
            for frame in like.frames(0, 6):
                writer.write(frame.data.astype(float), frame)
            writer.finish()
    assert not list((tmp_path / "out").iterdir())


def test_a_page_that_was_lost_is_found(tmp_path, counts, monkeypatch):
    save_series(tmp_path / "raw.h5", series_of(counts))
    usual = TiffSink.append
    monkeypatch.setattr(
        TiffSink,
        "append",
        lambda self, stored, frame: frame.index == 3 or usual(self, stored, frame),
    )
    output = tmp_path / "out" / "clean.tif"
    with refused("clean.tif", "it has 6 frames in place of 7"):
        save_stack(output, stack_of(counts.astype(np.float32)))
    assert not list(output.parent.iterdir())


@pytest.mark.parametrize("name", OUTPUTS)
def test_a_byte_that_the_disk_changed_is_found(like, tmp_path, monkeypatch, name):
    def damage(files):
        # in the middle of the last file of images
        file = max(files, key=lambda each: (each.stat().st_size, each.name))
        content = bytearray(file.read_bytes())
        middle = range(len(content) // 4, 3 * len(content) // 4)
        for place in middle:
            content[place] ^= 1
        file.write_bytes(content)

    damage_before_naming(monkeypatch, damage)
    output = tmp_path / "out" / name
    with pytest.raises(FileError, match="clean"):
        write(like, output)
    assert not [each for each in output.parent.iterdir() if each.suffix != ".json"]


@pytest.mark.parametrize("options", [{}, {"start": 2, "stop": 5}])
def test_a_mask_that_was_dropped_is_found(like, tmp_path, monkeypatch, options):
    def drop(master):
        master["entry/instrument/detector/detectorSpecific/pixel_mask"][...] = 0

    finish_with(monkeypatch, Hdf5Sink, drop)
    with refused("clean_master.h5", "the mask of frame 0 has 0 invalid pixels in pl"):
        write(like, tmp_path / "out" / "clean_master.h5", **options)


def test_a_mask_by_hand_is_none_of_the_file(like, tmp_path):
    like.mask[3:6, 4:7] = False
    write(like, tmp_path / "out" / "clean_master.h5")


def test_the_mask_of_a_new_master_is_compared(counts, tmp_path, monkeypatch):
    def drop(master):
        del master["entry/instrument/detector/pixel_mask"]
        del master["entry/instrument/detector/detectorSpecific/pixel_mask"]

    finish_with(monkeypatch, Hdf5Sink, drop)
    with refused("clean.h5", "the mask of all frames has 0 invalid pixels in place of"):
        write(series_of(counts), tmp_path / "clean.h5")


@pytest.mark.parametrize("change", ["cut", "shift", "drop"])
def test_angles_that_differ_are_found(like, tmp_path, monkeypatch, change):
    def damage(master):
        goniometer = master["entry/sample/goniometer"]
        angles = goniometer["omega"][()]
        del goniometer["omega"], master["entry/sample/transformations/omega"]
        if change != "drop":
            goniometer["omega"] = angles[:-1] if change == "cut" else angles + 0.1

    finish_with(monkeypatch, Hdf5Sink, damage)
    with refused("clean_master.h5", "omega (has other values|is missing)"):
        write(like, tmp_path / "out" / "clean_master.h5")


def test_angles_of_other_frames_are_found(like, tmp_path, monkeypatch):
    def damage(master):
        angles = master["entry/sample/goniometer/omega"]
        angles[...] = np.roll(angles[()], 1)

    finish_with(monkeypatch, Hdf5Sink, damage)
    with refused("clean_master.h5", "omega has other values"):
        write(like, tmp_path / "out" / "clean_master.h5", start=2, stop=5)


def test_angles_of_a_new_master_are_compared(counts, tmp_path, monkeypatch):
    series = series_of(counts, metadata=Metadata(start_angle=10.0, angle_increment=0.5))
    write(series, tmp_path / "good.h5")
    finish_with(
        monkeypatch, Hdf5Sink, lambda master: master[OMEGA].write_direct(np.zeros(7))
    )
    with refused("clean.h5", "omega has other values"):
        write(series, tmp_path / "clean.h5")


def test_an_angle_in_a_header_is_compared(tmp_path, counts, monkeypatch):
    series = series_of(counts, metadata=Metadata(start_angle=10.0, angle_increment=0.5))
    write(series, tmp_path / "good.cbf")

    def turn(files):
        last = next(each for each in files if "_00007" in each.name)
        last.write_bytes(
            last.read_bytes().replace(b"Start_angle 13", b"Start_angle 99")
        )

    damage_before_naming(monkeypatch, turn)
    with refused("clean.cbf", "frame 6 is at 99 degrees in place of 13"):
        write(series, tmp_path / "clean.cbf")


def test_energies_that_differ_are_found(tmp_path, monkeypatch):
    stack = stack_of(frames(), ENERGIES)
    save_stack(tmp_path / "good.h5", stack)

    def damage(file):
        del file["entry/data/energy"]
        file["entry/data/energy"] = ENERGIES[:-1]

    finish_with(monkeypatch, StackSink, damage)
    with refused("clean.h5", "energy has other values"):
        save_stack(tmp_path / "clean.h5", stack)
    assert not (tmp_path / "clean.h5").exists()


@pytest.mark.parametrize("axes", ["EYX", "YXE"])
def test_stacks_are_compared_in_their_own_order_of_axes(tmp_path, monkeypatch, axes):
    source = write_nxstxm(tmp_path / "raw.h5", frames(), axes)
    with open_stack(source, dataset="/entry1/counter0/data") as stack:
        save_stack(tmp_path / "good.h5", stack)
        usual = ImageWriter.write
        monkeypatch.setattr(
            ImageWriter,
            "write",
            lambda self, index, stored: usual(self, index, stored[::-1].copy()),
        )
        with refused("clean.h5", "frame 0 has other values"):
            save_stack(tmp_path / "clean.h5", stack)


def test_texts_beside_the_output_are_compared(like, tmp_path, monkeypatch):
    def damage(files):
        note = next(each for each in files if "XDS.INP" in each.name)
        note.write_text("GAIN= 1\n")

    damage_before_naming(monkeypatch, damage)
    with refused("clean_master.XDS.INP", "another text"):
        write(like, tmp_path / "out" / "clean_master.h5", emit=("xds",))


def test_maps_are_compared(tmp_path):
    image = np.array([[1.0, np.nan]])
    with h5py.File(tmp_path / "map.h5", "w") as file:
        file["entry/edge/data"] = image
    prove_maps(tmp_path / "m.h5", tmp_path / "map.h5", {"edge": image})
    with pytest.raises(FileError, match="m.h5.*entry/edge/data has other values"):
        prove_maps(tmp_path / "m.h5", tmp_path / "map.h5", {"edge": image + 1})
    with pytest.raises(FileError, match="m.h5.*entry/step/data is missing"):
        prove_maps(tmp_path / "m.h5", tmp_path / "map.h5", {"step": image})


@pytest.mark.parametrize("name", ["clean_master.h5", "clean.cbf"])
def test_without_symbolic_links_files_are_moved_and_return(
    like, tmp_path, monkeypatch, name
):
    def refuse(self, target):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "symlink_to", refuse)
    folder = tmp_path / "out"
    write(like, folder / name)
    with open_series(str(folder / name.replace(".cbf", "_*.cbf"))) as series:
        assert series.num_frames == 7
    assert not list(folder.glob(".*"))


def test_a_mask_in_a_file_elsewhere_is_found_by_its_link(tmp_path, counts):
    (tmp_path / "raw").mkdir()
    master = write_master(tmp_path / "raw" / "scan_master.h5", counts)
    mask = np.zeros(counts.shape[1:], np.uint32)
    mask[4] = 1
    (tmp_path / "common").mkdir()
    with h5py.File(tmp_path / "common" / "mask.h5", "w") as file:
        file["mask"] = mask
    with h5py.File(master, "r+") as file:
        detector = file["entry/instrument/detector"]
        del detector["pixel_mask"], detector["detectorSpecific/pixel_mask"]
        detector["pixel_mask"] = h5py.ExternalLink("../common/mask.h5", "/mask")
    with open_series(master) as series:
        write(series, tmp_path / "a" / "b" / "clean_master.h5")
    with open_series(tmp_path / "a" / "b" / "clean_master.h5") as series:
        assert not series.mask[4].any()


def test_few_frames_of_many_are_read_again(tmp_path, monkeypatch):
    def read(start, stop):
        for index in range(start, stop):
            yield np.full((10, 12), index, np.uint16), ""

    series = Series(
        num_frames=400,
        shape=(10, 12),
        dtype=np.dtype(np.uint16),
        read=read,
        mask=np.ones((10, 12), bool),
        invalid_values=InvalidValues(),
    )
    looked_at = []
    usual = h5py.Dataset.__getitem__

    def count(self, place, **options):
        if len(self.shape or ()) == 3:
            looked_at.append(place)
        return usual(self, place, **options)

    monkeypatch.setattr(h5py.Dataset, "__getitem__", count)
    write(series, tmp_path / "clean_master.h5")
    # three of them to judge which values are invalid
    assert COMPARED <= len(looked_at) <= COMPARED + 3
