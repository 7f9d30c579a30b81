import bz2

import h5py
import numpy as np
import pytest

from tests.io.images import save_cbf
from tests.io.rewriting import rewrite
from tvjax.io import open_series

IMAGE = np.random.default_rng(0).poisson(5.0, (12, 14)).astype(np.int32)


def dectris(path, angle, step=0.1):
    """A CBF file with an angle in its header."""
    save_cbf(path, IMAGE)
    start, section, rest = path.read_bytes().partition(b"--CIF-BINARY-FORMAT-SECTION--")
    lines = f"# Start_angle {angle:.4f} deg.\r\n# Angle_increment {step} deg.\r\n"
    path.write_bytes(b"###CBF: VERSION 1.5\r\n" + lines.encode() + section + rest)
    return path


def smv(path, angle, step=0.1):
    """An SMV file with an angle in its header."""
    fields = {"HEADER_BYTES": 512, "DIM": 2, "BYTE_ORDER": "little_endian"}
    fields |= {"TYPE": "unsigned_short", "SIZE1": 14, "SIZE2": 12}
    fields |= {"OSC_START": f"{angle:.2f}", "OSC_RANGE": step}
    text = "{\n" + "".join(f"{k}={v};\n" for k, v in fields.items()) + "}\n"
    path.write_bytes(text.encode().ljust(512) + IMAGE.astype("<u2").tobytes())
    return path


def warnings_of(paths):
    with open_series(paths) as series:
        return [text for text in series.warnings if text.startswith("The angles")]


@pytest.mark.parametrize(("write", "suffix"), [(dectris, "cbf"), (smv, "img")])
@pytest.mark.parametrize(
    ("numbers", "angles"),
    [
        ((1, 2, 3, 4), (0.0, 0.1, 10.2, 10.3)),  # a jump
        ((1, 2, 3, 4), (0.0, 0.1, 0.3, 0.4)),  # a gap that no number shows
        ((1, 2, 4, 5), (0.0, 0.1, 0.2, 0.3)),  # no gap where one number is missing
        ((1, 2, 3, 4), (0.0, 0.1, 0.1, 0.2)),  # one twice
        ((1, 2, 3, 4), (0.0, 0.1, 0.0, -0.1)),  # back
    ],
)
def test_angles_that_do_not_follow_are_told(tmp_path, write, suffix, numbers, angles):
    for number, angle in zip(numbers, angles, strict=True):
        write(tmp_path / f"x_{number}.{suffix}", angle)
    (warning,) = warnings_of(tmp_path / f"x_#.{suffix}")
    assert f"x_{numbers[1]}.{suffix} (0.1) to x_{numbers[2]}" in warning
    rewrite(tmp_path / f"x_#.{suffix}", tmp_path / "o_master.h5")
    with h5py.File(tmp_path / "o_master.h5") as file:
        np.testing.assert_allclose(file["entry/sample/goniometer/omega"][()], angles)


@pytest.mark.parametrize(
    ("numbers", "angles", "step"),
    [
        ((1, 2, 3, 4), (0.0, 0.1, 0.2, 0.3), 0.1),
        ((1, 2, 4, 5), (0.0, 0.1, 0.3, 0.4), 0.1),  # its number is missing
        ((1, 2, 3, 4), (359.8, 359.9, 0.0, 0.1), 0.1),
        ((1, 2, 3, 4), (0.0, -0.1, -0.2, -0.3), -0.1),
        ((1, 2, 3, 4), (0.0, 0.03, 0.07, 0.1), 0.0333),  # as a header rounds them
        ((1, 2, 3, 4), (5.0, 5.0, 5.0, 5.0), 0),  # it did not turn
    ],
)
def test_angles_that_follow_are_no_matter(tmp_path, numbers, angles, step):
    for number, angle in zip(numbers, angles, strict=True):
        dectris(tmp_path / f"x_{number}.cbf", angle, step)
    assert warnings_of(tmp_path / "x_#.cbf") == []


def test_headers_that_no_frame_changes_are_told(tmp_path):
    paths = [dectris(tmp_path / f"x_{n}.cbf", 0.0) for n in range(1, 8)]
    (warning,) = warnings_of(paths)
    assert "and 3 more" in warning


def test_a_long_series_of_compressed_files_is_looked_at_in_places(tmp_path):
    content = dectris(tmp_path / "x.cbf", 0.0).read_bytes()
    for number in range(150):
        angle = 0.1 * number + 20 * (number >= 75)
        text = content.replace(b"angle 0.0000", f"angle {angle:.4f}".encode())
        (tmp_path / f"x_{number:03}.cbf.bz2").write_bytes(bz2.compress(text))
    (warning,) = warnings_of(tmp_path / "x_###.cbf.bz2")
    assert warning.count(" to x_") == 1


@pytest.mark.parametrize("axis", ["omega", "phi"])
def test_angles_of_hdf5_are_those_of_each_frame(tmp_path, axis):
    """Of the axis that moves, also where it does so unevenly."""
    angles = [0.0, 0.1, 5.0, 5.3]
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["entry/data/data"] = np.stack([IMAGE] * 4)
        file["entry/sample/goniometer/omega"] = np.full(4, 90.0)
        file["entry/sample/goniometer/chi"] = 45.0
        group = file["entry/sample/goniometer"]
        if axis in group:
            del group[axis]
        group[axis] = angles
    rewrite(tmp_path / "a.h5", tmp_path / "o_#.cbf", start=1)
    with open_series(tmp_path / "o_#.cbf") as series:
        texts = [frame.header for frame in series.frames()]
    for angle, text in zip(angles[1:], texts, strict=True):
        assert f"# Start_angle {angle:g} deg." in text
