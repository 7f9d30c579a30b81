import dataclasses
import json

import h5py
import numpy as np
import pytest

from tests.io.disk import tiny_disk
from tests.io.images import save_cbf
from tests.io.masters import MASKED
from tests.io.rewriting import counts_in, plain_stack, rewrite
from tests.io.stacks import frames, write_nxstxm, write_plain
from tvjax.io import (
    create_stack,
    FileError,
    Metadata,
    open_series,
    open_stack,
    save_series,
    series_of,
    stack_of,
)
from tvjax.io.dectris_header import parse_header


def test_a_pixel_outside_the_mask_leaves_as_it_came(clean, counts):
    with open_series(clean) as series:
        frame = next(series.frames())
    assert not frame.mask[2, 3] and frame.data[2, 3] == 16 * counts[0, 2, 3]
    assert (frame.data[9:11] == MASKED).all()


def test_fractions_of_a_count_survive(tmp_path, counts):
    stack = plain_stack(tmp_path, counts)
    tally = rewrite(stack, tmp_path / "clean.h5", lambda image: 0 * image + 0.3)
    stored = counts_in(tmp_path / "clean.h5")
    assert set(np.unique(stored)) == {0, 5 / 16}  # 0.3 to the nearest sixteenth
    assert tally.counts_out == np.count_nonzero(stored) * 5 / 16


def test_negative_and_saturated_pixels_are_counted(master, tmp_path):
    def change(image):
        image = image.copy()
        image[0, :3] = -1, -0.01, 1e10
        image[2, 3] = -5  # invalid, hence left as it came
        return image

    with h5py.File(master.with_name("scan_data_000001.h5"), "r+") as file:
        file["entry/data/data"][0, 1, 1] = 50_000
    tally = rewrite(master, tmp_path / "clean_master.h5", change)
    assert tally.negative == 7  # −0.01 rounds to zero
    assert tally.saturated == 8
    with open_series(tmp_path / "clean_master.h5") as series:
        frame = next(series.frames())
    assert frame.data[0, :3].tolist() == [0, 0, 2**31 - 3]


def test_floats_keep_their_values_and_mark_with_nan(master, tmp_path, counts):
    output = tmp_path / "clean_master.h5"
    rewrite(master, output, lambda image: image + 0.1, dtype="float32")
    with open_series(output) as series:
        assert series.dtype == np.float32
        frame = next(series.frames())
    assert np.isnan(frame.data[9:11]).all()
    expected = (counts[0] + np.float32(0.1)).astype(np.float32)
    np.testing.assert_array_equal(frame.data[frame.mask], expected[frame.mask])
    with h5py.File(output) as file:
        detector = file["entry/instrument/detector"]
        assert "data_scale_factor" not in detector
        assert detector["saturation_value"][()] == 50_000


def test_floats_stay_floats(tmp_path):
    stack = np.linspace(0, 1, 60, dtype=np.float64).reshape(1, 6, 10)
    with h5py.File(tmp_path / "density.h5", "w") as file:
        file["density"] = stack
    rewrite(tmp_path / "density.h5", tmp_path / "clean.h5")
    with open_series(tmp_path / "clean.h5") as series:
        assert series.dtype == np.float32
        np.testing.assert_allclose(next(series.frames()).data, stack[0], rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("clean.cbf", {"dtype": "float32"}, "cannot hold float32"),
        ("clean.h5", {"dtype": "float32", "scale": 16}, "makes no sense"),
        ("clean.h5", {"scale": 0}, "makes no sense"),
        ("clean.png", {}, "no extension that tvjax writes"),
    ],
)
def test_an_impossible_encoding_is_refused(master, tmp_path, name, options, reason):
    with pytest.raises(FileError, match=reason):
        rewrite(master, tmp_path / name, **options)
    assert [path.name for path in tmp_path.iterdir()] == ["raw"]


def test_cbf_and_tiff_leave_the_provenance_beside_them(cbf):
    record = json.loads(cbf[1].with_name("clean.tvjax.json").read_text())
    assert record["program"] == "tvjax"
    assert record["alpha"] == [0.5]
    assert record["scale"] == 16


def test_a_series_of_images_is_numbered(master, tmp_path, counts):
    rewrite(master, tmp_path / "clean" / "x.cbf", start=1, stop=3)
    rewrite(master, tmp_path / "clean" / "y_##.tif", start=1, stop=3)
    names = sorted(path.name for path in (tmp_path / "clean").iterdir())
    assert names == [
        "x.tvjax.json",
        "x_00001.cbf",
        "x_00002.cbf",
        "y.tvjax.json",
        "y_01.tif",
        "y_02.tif",
    ]
    expected = np.where(counts == MASKED, 0, counts)[1:3]
    np.testing.assert_array_equal(counts_in(str(tmp_path / "clean/x_*.cbf")), expected)
    np.testing.assert_array_equal(counts_in(str(tmp_path / "clean/y_*.tif")), expected)


def write_cbfs(folder, numbers, step=0.1):
    """CBF files of which each says at which angle it starts."""
    template = save_cbf(folder / "any.cbf", np.ones((4, 5), np.int32)).read_bytes()
    (folder / "any.cbf").unlink()
    _, section, rest = template.partition(b"--CIF-BINARY-FORMAT-SECTION--")
    for number in numbers:
        text = (
            "###CBF: VERSION 1.5\r\n_array_data.header_contents\r\n;\r\n"
            f"# Start_angle {step * (number - 1):.4f} deg.\r\n"
            "# Angle_increment 0.1 deg.\r\n;\r\n"
        )
        (folder / f"x_{number:04d}.cbf").write_bytes(text.encode() + section + rest)
    return str(folder / "x_####.cbf")


@pytest.mark.parametrize("name", ["a.cbf", "a_####.tif"])
@pytest.mark.parametrize(("start", "numbers"), [(0, [1, 2, 4, 5]), (2, [4, 5])])
def test_images_keep_the_numbers_of_the_input(tmp_path, name, start, numbers):
    source = write_cbfs(tmp_path, [1, 2, 4, 5])
    rewrite(source, tmp_path / "clean" / name, start=start)
    found = [path.stem for path in sorted((tmp_path / "clean").glob("a_*"))]
    assert [int(stem[2:]) for stem in found] == numbers
    with open_series(str(tmp_path / "clean" / f"a_*{name[-4:]}")) as series:
        angles = [parse_header(frame.header).start_angle for frame in series.frames()]
    np.testing.assert_allclose(angles, 0.1 * (np.array(numbers) - 1))


@pytest.mark.parametrize("step", [0.1, 0.25])
def test_frames_keep_their_angles_in_a_new_master(tmp_path, step):
    source = write_cbfs(tmp_path, [1, 2, 4, 5], step)
    rewrite(source, tmp_path / "a_master.h5", start=1)
    with h5py.File(tmp_path / "a_master.h5") as file:
        omega = file["entry/sample/transformations/omega"][()]
    np.testing.assert_allclose(omega, step * np.array([1, 3, 4]))


def test_angles_without_a_header_follow_the_numbers(tmp_path):
    known = Metadata(start_angle=10.0, angle_increment=0.5)
    series = series_of(np.ones((4, 4, 5), np.uint32), metadata=known)
    series = dataclasses.replace(series, numbers=(1, 2, 4, 5))
    save_series(tmp_path / "a_master.h5", series)
    with h5py.File(tmp_path / "a_master.h5") as file:
        omega = file["entry/sample/transformations/omega"][()]
    np.testing.assert_allclose(omega, [10.0, 10.5, 11.5, 12.0])


@pytest.mark.parametrize("name", ["x.cbf", "x.tif"])
def test_denoised_images_are_recognized(master, tmp_path, name):
    rewrite(master, tmp_path / name, stop=1)
    with open_series(tmp_path / name) as series:
        assert series.denoised_by == "tvjax 0.1.0"


# Stacks


@pytest.fixture
def data():
    return frames()


@pytest.mark.parametrize("name", ["clean.h5", "clean.tif", "clean_###.tif"])
def test_an_interrupted_output_leaves_nothing(tmp_path, data, name):
    source = write_nxstxm(tmp_path / "raw.h5", data, "YXE")
    before = source.read_bytes()
    with open_stack(source) as stack, pytest.raises(KeyboardInterrupt):
        with create_stack(tmp_path / name, stack) as writer:
            writer.attach(tmp_path / "map.h5", lambda file: file.write(b"map"))
            for frame in stack.series.frames(0, 3):
                writer.write(frame.data, frame)
            raise KeyboardInterrupt
    assert [path.name for path in tmp_path.iterdir()] == ["raw.h5"]
    assert source.read_bytes() == before


@pytest.mark.parametrize("name", ["clean.h5", "clean.tif", "clean_###.tif"])
def test_a_full_disk_gets_a_sentence_and_leaves_nothing(tmp_path, name):
    noise = np.random.default_rng(0).normal(size=(4, 60, 70)).astype(np.float32)
    stack = stack_of(noise)
    full = pytest.raises(FileError, match="clean.* disk is full or a quota is reached")
    with full, tiny_disk(), create_stack(tmp_path / name, stack) as writer:
        for frame in stack.series.frames():
            writer.write(frame.data, frame)
        writer.finish()
    assert not list(tmp_path.iterdir())


def test_an_attached_file_appears_with_the_output(tmp_path, data):
    with create_stack(tmp_path / "clean.h5", stack_of(data)) as writer:
        writer.attach(tmp_path / "map.h5", lambda file: file.write(b"map"))
        for frame in stack_of(data).series.frames():
            writer.write(frame.data, frame)
        assert not (tmp_path / "map.h5").exists()
        writer.finish()
    assert (tmp_path / "map.h5").read_bytes() == b"map"


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("raw.h5", "is part of the input and would be lost"),
        ("clean.cbf", "cannot hold floats"),
        ("taken.h5", "taken.h5 exists"),
        ("clean.png", "no extension that tvjax writes"),
    ],
)
def test_outputs_that_are_refused(tmp_path, data, name, sentence):
    source = write_plain(tmp_path / "raw.h5", data)
    (tmp_path / "taken.h5").write_text("precious")
    with open_stack(source) as stack, pytest.raises(FileError, match=sentence):
        create_stack(tmp_path / name, stack)
    assert (tmp_path / "taken.h5").read_text() == "precious"
