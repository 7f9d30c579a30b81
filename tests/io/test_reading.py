import bz2
import gzip

import fabio
import numpy as np
import pytest
import tifffile

from tvjax.io import FileError, open_series

HEADER = """###CBF: VERSION 1.5, a detector\r
\r
data_thing\r
\r
_array_data.header_convention "PILATUS_1.2"\r
_array_data.header_contents\r
;\r
# Detector: PILATUS 2M, S/N 24\r
# Pixel_size 172e-6 m x 172e-6 m\r
# Exposure_time 0.0964 s\r
# Count_cutoff 388705 counts\r
# Wavelength 0.68890 A\r
# Detector_distance 0.16 m\r
# Beam_xy (15.00, 10.00) pixels\r
# Start_angle -145.0 deg.\r
;\r
"""


@pytest.fixture
def image():
    image = np.random.default_rng(1).poisson(3.0, (20, 30)).astype(np.int32)
    image[9:11] = -1
    image[2, 3] = -2
    return image


def save_cbf(path, image):
    fabio.cbfimage.CbfImage(data=image).write(str(path))
    return path


def save_tiff(path, image):
    tifffile.imwrite(path, image, photometric="minisblack")
    return path


def save_edf(path, image):
    fabio.edfimage.EdfImage(data=image).write(str(path))
    return path


FORMATS = {"cbf": save_cbf, "tif": save_tiff, "edf": save_edf}


@pytest.fixture(params=FORMATS)
def saved(request, tmp_path, image):
    return FORMATS[request.param](tmp_path / f"scan_0007.{request.param}", image)


def only_frame(path):
    with open_series(path) as series:
        (frame,) = series.frames()
    return frame


def test_values_are_those_written_by_another_program(saved, image):
    np.testing.assert_array_equal(only_frame(saved).data, image)


def test_negative_values_are_invalid_pixels(saved, image):
    np.testing.assert_array_equal(only_frame(saved).mask, image >= 0)


@pytest.mark.parametrize("compression", [bz2, gzip])
def test_a_compressed_file_reads_like_the_plain_one(saved, image, compression):
    packed = saved.with_name(saved.name + "." + compression.__name__[:3].strip("ip"))
    packed.write_bytes(compression.compress(saved.read_bytes()))
    np.testing.assert_array_equal(only_frame(packed).data, image)


def test_a_truncated_file_is_named(saved):
    content = saved.read_bytes()
    saved.write_bytes(content[: int(0.6 * len(content))])
    with pytest.raises(FileError, match=f"{saved.name} is truncated or damaged"):
        open_series(saved)


def test_a_pedestal_makes_negative_values_readings(saved, image):
    save = FORMATS[saved.suffix[1:]]
    assert only_frame(save(saved, image - 10)).mask.all()


def test_a_cbf_that_fails_its_checksum_is_refused(tmp_path, image):
    path = save_cbf(tmp_path / "a.cbf", image)
    content = path.read_bytes()
    place = content.index(b"\x0c\x1a\x04\xd5") + 40
    path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(FileError, match="checksum"):
        open_series(path)


def test_metadata_of_a_cbf_comes_from_its_header_lines(tmp_path, image):
    path = save_cbf(tmp_path / "a.cbf", image)
    _, section, rest = path.read_bytes().partition(b"--CIF-BINARY-FORMAT-SECTION--")
    path.write_bytes(HEADER.encode() + section + rest)
    with open_series(path) as series:
        metadata = series.metadata
    assert metadata.detector == "PILATUS 2M, S/N 24"
    assert metadata.pixel_size == (172e-6, 172e-6)
    assert metadata.beam_centre == (10.0, 15.0)
    assert (metadata.wavelength, metadata.distance) == (0.6889, 0.16)
    assert (metadata.saturation, metadata.start_angle) == (388705, -145.0)


def test_pages_of_a_tiff_are_frames(tmp_path):
    stack = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    with open_series(save_tiff(tmp_path / "stack.tif", stack)) as series:
        frames = list(series.frames(1, 3))
    np.testing.assert_array_equal([frame.data for frame in frames], stack[1:])


def test_a_color_image_is_refused(tmp_path):
    path = tmp_path / "color.tif"
    tifffile.imwrite(path, np.zeros((20, 30, 3), np.uint8), photometric="rgb")
    with pytest.raises(FileError, match="color"):
        open_series(path)


@pytest.fixture
def numbered(tmp_path):
    for number in (8, 9, 10, 12):
        save_tiff(
            tmp_path / f"scan_{number:03d}.tif", np.full((4, 5), number, np.uint16)
        )
    return tmp_path


def numbers(paths, **options):
    with open_series(paths, **options) as series:
        return [frame.data[0, 0] for frame in series.frames()]


@pytest.mark.parametrize("pattern", ["scan_*.tif", "scan_0??.tif", "scan_###.tif"])
def test_a_pattern_is_a_series_in_order_of_the_names(numbered, pattern):
    assert numbers(str(numbered / pattern)) == [8, 9, 10, 12]


def test_a_list_is_a_series_in_its_own_order(numbered):
    assert numbers([numbered / "scan_010.tif", numbered / "scan_008.tif"]) == [10, 8]


def test_numbered_follows_the_numbers_until_they_break(numbered):
    assert numbers(numbered / "scan_008.tif", numbered=True) == [8, 9, 10]


def test_a_series_can_start_in_the_middle(numbered):
    with open_series(str(numbered / "scan_*.tif")) as series:
        assert [frame.index for frame in series.frames(2)] == [2, 3]


def test_files_of_different_shapes_are_refused(numbered):
    save_tiff(numbered / "scan_009.tif", np.zeros((9, 9), np.uint16))
    with pytest.raises(FileError, match="scan_009.tif has frames of .9, 9."):
        numbers(str(numbered / "scan_*.tif"))


def test_a_pattern_without_files_is_refused(tmp_path):
    with pytest.raises(FileError, match="No file matches"):
        open_series(str(tmp_path / "nothing_*.cbf"))


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(FileError, match="does not exist"):
        open_series(tmp_path / "nothing.cbf")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(FileError, match="is a folder"):
        open_series(tmp_path)


def test_no_input_is_refused():
    with pytest.raises(FileError, match="No input"):
        open_series([])


@pytest.mark.parametrize("content", [b"", b"energy mu\n" * 50])
def test_an_unknown_format_is_refused_with_a_list_of_the_known(tmp_path, content):
    path = tmp_path / "notes.txt"
    path.write_bytes(content)
    with pytest.raises(FileError, match="no format that is known.*CBF, TIFF.*SMV"):
        open_series(path)
