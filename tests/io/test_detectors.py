import fabio
import numpy as np
import pytest

from tests.io.images import save_edf
from tvjax.io import FileError, open_series
from tvjax.io.detectors import describe, read

IMAGE = np.arange(30, dtype=np.uint16).reshape(5, 6)


def smv(folder, **header):
    """An image as an ADSC detector writes it."""
    path = folder / "image_001.img"
    fields = {"HEADER_BYTES": "512", "BYTE_ORDER": "little_endian"} | header
    fields |= {"SIZE1": "6", "SIZE2": "5", "TYPE": "unsigned_short", "DIM": "2"}
    text = "{\n" + "".join(f"{k}={v};\n" for k, v in fields.items()) + "}\n"
    path.write_bytes(text.encode().ljust(512) + IMAGE.astype("<u2").tobytes())
    return path


def test_metadata_of_an_smv_image_is_in_si_units(tmp_path):
    path = smv(
        tmp_path,
        WAVELENGTH="0.97",
        DISTANCE="150.0",
        PIXEL_SIZE="0.0512",
        TIME="0.5",
        OSC_START="10.0",
        OSC_RANGE="0.25",
        CCD_IMAGE_SATURATION="65535",
    )
    num_frames, metadata, denoised_by, *_ = describe(path)
    assert (num_frames, denoised_by) == (1, None)
    assert (metadata.wavelength, metadata.exposure) == (0.97, 0.5)
    assert metadata.distance == pytest.approx(0.15)
    assert metadata.pixel_size == pytest.approx((5.12e-5, 5.12e-5))
    assert (metadata.start_angle, metadata.angle_increment) == (10.0, 0.25)
    assert metadata.saturation == 65535
    ((values, header),) = read(path, 0, 1)
    np.testing.assert_array_equal(values, IMAGE)
    assert header == "# Start_angle 10 deg.\n"


def test_a_header_that_says_nothing_or_nonsense_leaves_metadata_unknown(tmp_path):
    assert describe(smv(tmp_path, DISTANCE="far")).metadata.known() == {}


def test_frames_of_a_file_with_several_are_read_in_order(tmp_path):
    path = tmp_path / "several.edf"
    image = fabio.edfimage.EdfImage(data=IMAGE)
    image.append_frame(data=IMAGE + 1)
    image.append_frame(data=IMAGE + 2)
    image.write(str(path))
    assert describe(path).num_frames == 3
    values = [data for data, _ in read(path, 1, 3)]
    np.testing.assert_array_equal(values, [IMAGE + 1, IMAGE + 2])


@pytest.mark.parametrize(
    ("header", "marks"),
    [
        ({"Dummy": "-10"}, ((-10, -10),)),
        ({"Dummy": "-10", "DDummy": "0.5"}, ((-10.5, -9.5),)),
        ({"dummy": "7", "ddummy": "0"}, ((7, 7),)),
        ({"Dummy": "none"}, ()),
        ({}, ()),
    ],
)
def test_the_dummy_value_of_a_header_is_no_reading(tmp_path, header, marks):
    path = tmp_path / "a.edf"
    fabio.edfimage.EdfImage(data=IMAGE, header=header).write(str(path))
    assert describe(path).declared.marks == marks


def test_pixels_near_the_dummy_value_are_invalid(tmp_path):
    image = np.arange(20, dtype=np.float32).reshape(4, 5)
    header = {"Dummy": "7", "DDummy": "1.1"}
    fabio.edfimage.EdfImage(data=image, header=header).write(str(tmp_path / "a.edf"))
    with open_series(tmp_path / "a.edf") as series:
        (frame,) = series.frames()
    assert frame.data[~frame.mask].tolist() == [6, 7, 8]


def test_an_incomplete_image_is_an_error_and_not_zeros(tmp_path):
    path = save_edf(tmp_path / "cut.edf", IMAGE)
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ValueError):
        next(read(path, 0, 1))


def test_what_fabio_does_not_know_is_refused_with_a_list(tmp_path):
    path = tmp_path / "notes.txt"
    path.write_text("energy mu\n" * 50)
    with pytest.raises(FileError, match="no format that is known here: tvjax reads"):
        describe(path)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"IMGBLO\2\1" + bytes(3000), "Blockfile"),
        (b"\x89PNG\r\n\x1a\n" + bytes(3000), "PNG"),
        (b"\x93NUMPY\1\0" + bytes(3000), "NumPy"),
        (b"PK\3\4" + bytes(3000), "zip"),
        (b"IM" + bytes(3000), ""),  # HiPic, by its two bytes
    ],
)
def test_a_format_that_is_not_read_is_not_called_damaged(tmp_path, content, kind):
    path = tmp_path / "image.any"
    path.write_bytes(content)
    what = rf" \({kind}\)" if kind else ""
    with pytest.raises(FileError, match=f"no format that is known here{what}: tvjax"):
        open_series(path)
