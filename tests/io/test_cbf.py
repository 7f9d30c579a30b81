import re

import fabio
import numpy as np
import pytest

from tests.io.conftest import CBF_TEXT
from tests.io.images import save_cbf
from tvjax.io import FileError, open_series, save_series, series_of
from tvjax.io.cbf import output_files
from tvjax.io.series import Selection


def test_a_cbf_that_fails_its_checksum_is_refused(tmp_path, image):
    path = save_cbf(tmp_path / "a.cbf", image)
    content = path.read_bytes()
    place = content.index(b"\x0c\x1a\x04\xd5") + 40
    path.write_bytes(content[:place] + b"\x01" + content[place + 1 :])
    with pytest.raises(FileError, match="checksum"):
        open_series(path)


def test_cbf_keeps_marks_and_fabio_reads_it(cbf):
    raw, clean = (fabio.open(str(path)).data for path in cbf)
    np.testing.assert_array_equal(clean, np.where(raw < 0, raw, 16 * raw))


def test_cbf_keeps_its_text_with_limits_as_stored(cbf):
    text = cbf[1].read_bytes().partition(b"--CIF-BINARY")[0].decode()
    expected = (
        CBF_TEXT.replace("388705 counts", "6219280 counts")
        .replace("ARRAY1 1.0 388705 -1", "ARRAY1 16 6219280 -1")
        .replace("2M\r\n", "2M\r\n# Denoised_by tvjax 0.1.0, stored = 16 x counts\r\n")
    )
    assert text == expected


def test_another_compression_is_refused_with_a_remedy(tmp_path):
    path = save_cbf(tmp_path / "a.cbf", np.ones((4, 5), np.int32))
    content = path.read_bytes().replace(b"x-CBF_BYTE_OFFSET", b"x-CBF_PACKED")
    path.write_bytes(content)
    with pytest.raises(FileError, match="another way than byte offset: convert it"):
        open_series(path)


@pytest.mark.parametrize(
    ("field", "sentence"),
    [
        (b"X-Binary-Size-Fastest-Dimension", "the field .* is missing"),
        (b"--CIF-BINARY-FORMAT-SECTION--", "there is no image in it"),
    ],
)
def test_a_file_that_lacks_something_says_what(tmp_path, field, sentence):
    path = save_cbf(tmp_path / "a.cbf", np.ones((4, 5), np.int32))
    path.write_bytes(path.read_bytes().replace(field, b"X-Other"))
    with pytest.raises(FileError, match=sentence):
        open_series(path)


def test_steps_of_any_size_survive_the_compression(tmp_path):
    # one byte, two or four hold the step from a pixel to the next
    image = np.array([[0, 1, -1, 200, -200], [70_000, -70_000, 0, 2**30, -(2**30)]])
    series = series_of(image[None].astype(np.int32))
    save_series(tmp_path / "a.cbf", series)
    with open_series(tmp_path / "a.cbf") as written:
        (frame,) = written.frames()
    expected = np.clip(image, 0, None)  # negative values are stored as zero
    np.testing.assert_array_equal(frame.data, expected)


def test_one_frame_gets_its_number_where_the_name_has_room_for_it(tmp_path, image):
    for number in (7, 8):
        save_cbf(tmp_path / f"raw_{number}.cbf", image)
    with open_series(str(tmp_path / "raw_#.cbf")) as series:
        files = output_files(tmp_path / "clean_##.cbf", series, Selection(1, 2, 2))
    assert files == [tmp_path / "clean_08.cbf"]


@pytest.mark.parametrize(("rows", "columns"), [(131072, 131072), (4096, 4096), (0, 30)])
def test_a_claim_beyond_what_is_there_is_refused(tmp_path, image, rows, columns):
    path = save_cbf(tmp_path / "a.cbf", image)
    content = path.read_bytes()
    for name, size in ((b"Second", rows), (b"Fastest", columns)):
        field = rb"(X-Binary-Size-" + name + rb"-Dimension:) \d+"
        content = re.sub(field, rb"\1 %d" % size, content)
    path.write_bytes(content)
    with pytest.raises(FileError, match="GB of memory|bytes cannot hold"):
        open_series(path)
