import numpy as np
import pytest
import tifffile

from tests.io.images import save_tiff
from tests.io.rewriting import rewrite
from tvjax.io import FileError, Metadata, open_series, save_series, series_of


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


def test_pages_return_as_pages_with_their_descriptions(tmp_path):
    stack = np.arange(3 * 20 * 30, dtype=np.uint16).reshape(3, 20, 30)
    with tifffile.TiffWriter(tmp_path / "raw.tif") as writer:
        for number, page in enumerate(stack):
            writer.write(page, description=f"page {number}", metadata=None)
    rewrite(tmp_path / "raw.tif", tmp_path / "clean.tif")
    with tifffile.TiffFile(tmp_path / "clean.tif") as tiff:
        assert [page.description for page in tiff.pages] == [
            "page 0",
            "page 1",
            "page 2",
        ]
        assert tiff.pages[0].software == "tvjax 0.1.0"
        np.testing.assert_array_equal(tiff.asarray(), 16 * stack.astype(int))


def test_a_page_beyond_the_end_of_the_file_is_an_error(tmp_path):
    path = save_tiff(tmp_path / "stack.tif", np.zeros((3, 20, 30), np.uint16))
    with tifffile.TiffFile(path) as tiff:
        place = tiff.pages[2].offset
    path.write_bytes(path.read_bytes()[:place])
    with pytest.raises(FileError, match="stack.tif is truncated or damaged"):
        open_series(path)


def test_an_image_from_another_format_gets_a_description_of_what_is_known(tmp_path):
    known = Metadata(distance=0.25, beam_centre=(3.0, 4.0), start_angle=1.5)
    counts = np.ones((1, 4, 5), np.uint32)
    save_series(tmp_path / "a.tif", series_of(counts, metadata=known))
    with open_series(tmp_path / "a.tif") as series:
        found = series.metadata.known()
    assert found == known.known() | {"detector": "unknown"}
