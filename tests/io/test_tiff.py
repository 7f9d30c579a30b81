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


STACK = np.arange(5 * 20 * 30, dtype=np.uint16).reshape(5, 20, 30)


def save_imagej(path, byteorder="<"):
    """A stack as ImageJ writes one beyond 4 GB: one page, the rest behind it."""
    stack = STACK.astype(f"{byteorder}u2").reshape(5, 1, 1, 20, 30)
    with tifffile.TiffWriter(path, imagej=True, byteorder=byteorder) as writer:
        writer.write(stack, truncate=True, metadata={"axes": "TZCYX"})
    return path


def save_imagej_backwards(path):
    return save_imagej(path, ">")


def save_truncated(path):
    tifffile.imwrite(path, STACK, truncate=True)
    return path


def save_pages(path, **options):
    tifffile.imwrite(path, STACK, **options)
    return path


def save_big(path):
    return save_pages(path, bigtiff=True)


def save_ome(path):
    return save_pages(path, ome=True, metadata={"axes": "ZYX"})


def save_imagej_pages(path):
    return save_pages(path, imagej=True)


def save_compressed(path):
    return save_pages(path, compression="zlib", metadata=None)


def save_thumbnails(path):
    """Each page is followed by a small copy."""
    with tifffile.TiffWriter(path) as writer:
        for image in STACK:
            writer.write(image, metadata=None)
            writer.write(image[::4, ::4], subfiletype=1, metadata=None)
    return path


def save_pyramids(path):
    """Each page has a smaller copy below it."""
    with tifffile.TiffWriter(path) as writer:
        for image in STACK:
            writer.write(image, subifds=1, metadata=None)
            writer.write(image[::2, ::2], subfiletype=1, metadata=None)
    return path


STACKS = [
    *(save_imagej, save_imagej_backwards, save_truncated, save_pages, save_big),
    *(save_ome, save_imagej_pages, save_compressed, save_thumbnails, save_pyramids),
]


@pytest.mark.parametrize("save", STACKS)
def test_every_image_is_a_frame_and_no_copy_of_one_is(tmp_path, save):
    with open_series(save(tmp_path / "a.tif")) as series:
        assert (series.num_frames, series.shape) == (5, (20, 30))
        found = np.stack([frame.data for frame in series.frames()])
        middle = [frame.data for frame in series.frames(2, 4)]
    assert found.dtype == np.uint16
    np.testing.assert_array_equal(found, STACK)
    np.testing.assert_array_equal(middle, STACK[2:4])


@pytest.mark.parametrize("save", STACKS)
@pytest.mark.parametrize("stop", [5, 3])
def test_what_is_written_has_as_many_images_for_other_programs(tmp_path, save, stop):
    rewrite(save(tmp_path / "a.tif"), tmp_path / "b.tif", stop=stop, scale=1)
    right = STACK[:stop].astype(np.int32)
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "b.tif"), right)
    with open_series(tmp_path / "b.tif") as series:
        assert series.num_frames == stop


@pytest.mark.parametrize("save", [save_imagej, save_truncated])
def test_images_that_are_told_of_and_are_not_there_are_missed(tmp_path, save):
    path = save(tmp_path / "a.tif")
    path.write_bytes(path.read_bytes()[:-2000])
    with pytest.raises(FileError, match="tells of 5 images .* and holds 3: copy it"):
        open_series(path)


def test_pages_that_were_taken_out_are_missed(tmp_path):
    text = "ImageJ=1.53\nimages=5\nslices=5\n"
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        for n in range(3):
            writer.write(STACK[n], description=None if n else text, metadata=None)
    with pytest.raises(FileError, match="tells of 5 images .* and holds 3"):
        open_series(tmp_path / "a.tif")


def test_pages_of_several_sizes_are_refused(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as writer:
        writer.write(STACK, metadata=None)
        writer.write(STACK[:, :10], metadata=None)
    with pytest.raises(FileError, match=r"several sizes or types, \(10, 30\) uint16"):
        open_series(tmp_path / "a.tif")


def test_several_planes_in_a_page_are_refused(tmp_path):
    save_pages(tmp_path / "a.tif", volumetric=True, tile=(16, 16, 16))
    with pytest.raises(FileError, match="pages of 3 axes: write one image a page"):
        open_series(tmp_path / "a.tif")


def test_a_compression_that_needs_a_package_names_it(tmp_path, monkeypatch):
    def refuse(page):
        raise ValueError("<COMPRESSION.LZW: 5> requires the 'imagecodecs' package")

    path = save_pages(tmp_path / "a.tif", compression="zlib")
    monkeypatch.setattr(tifffile.TiffPage, "asarray", refuse)
    with pytest.raises(FileError, match="compressed with ADOBE_DEFLATE.*pip install"):
        open_series(path)
