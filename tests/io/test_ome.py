import numpy as np
import pytest
import tifffile

from tests.io.rewriting import counts_in, rewrite
from tvjax.io import FileError, open_series
from tvjax.io.ome import find_planes, other_files, Plane

FRAMES = np.random.default_rng(0).poisson(5.0, (4, 16, 20)).astype(np.uint16)
ROOT = '<OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="u{}">'
PIXELS = (
    '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint16" '
    'SizeX="20" SizeY="16" SizeC="1" SizeZ="4" SizeT="1">{}</Pixels></Image></OME>'
)


def text(entries, own=0):
    """XML with file (None for no word of it) and page of each image in their order."""
    data = ""
    for z, (file, page) in enumerate(entries):
        inner = "" if file is None else f'<UUID FileName="m_{file}.tif">u{file}</UUID>'
        data += f'<TiffData FirstZ="{z}" IFD="{page}" PlaneCount="1">{inner}</TiffData>'
    return '<?xml version="1.0"?>' + ROOT.format(own) + PIXELS.format(data)


def write(path, images, description):
    with tifffile.TiffWriter(path) as writer:
        for number, image in enumerate(images):
            writer.write(
                image,
                photometric="minisblack",
                description=None if number else description,
                metadata=None,
                contiguous=False,
            )
    return path


def stored(paths):
    with open_series(paths) as series:
        return np.stack([frame.data for frame in series.frames()])


def halves(folder, entries):
    """Two files of two images each."""
    return [
        write(folder / f"m_{k}.tif", FRAMES[2 * k : 2 * k + 2], text(entries, k))
        for k in (0, 1)
    ]


IN_ORDER = [(0, 0), (0, 1), (1, 0), (1, 1)]


@pytest.mark.parametrize("named", ["m_0.tif", "m_1.tif"])
def test_a_part_of_an_image_in_several_files_is_refused(tmp_path, named):
    halves(tmp_path, IN_ORDER)
    with pytest.raises(FileError, match=r"m_0.tif, m_1.tif: name all of them"):
        open_series(tmp_path / named)


def test_an_image_in_several_files_is_read_where_all_are_named(tmp_path):
    paths = halves(tmp_path, IN_ORDER)
    np.testing.assert_array_equal(stored(paths), FRAMES)
    np.testing.assert_array_equal(stored(tmp_path / "m_#.tif"), FRAMES)
    with pytest.raises(FileError, match="in this order"):
        open_series(paths[::-1])
    rewrite(tmp_path / "m_#.tif", tmp_path / "clean.tif")
    np.testing.assert_array_equal(counts_in(tmp_path / "clean.tif"), FRAMES)


def test_an_order_that_goes_between_files_is_refused(tmp_path):
    halves(tmp_path, [(0, 0), (1, 0), (0, 1), (1, 1)])
    with pytest.raises(FileError, match="write them to one file first"):
        open_series(tmp_path / "m_#.tif")


@pytest.mark.parametrize("file", [None, 0])
def test_images_come_in_the_order_that_is_told(tmp_path, file):
    """Also under another name than the description has."""
    order = [2, 0, 3, 1]
    pages = [FRAMES[order.index(page)] for page in range(4)]
    path = write(tmp_path / "renamed.tif", pages, text([(file, p) for p in order]))
    np.testing.assert_array_equal(stored(path), FRAMES)
    rewrite(path, tmp_path / "clean.tif")
    np.testing.assert_array_equal(counts_in(tmp_path / "clean.tif"), FRAMES)
    with tifffile.TiffFile(tmp_path / "clean.tif") as tiff:
        assert not tiff.is_ome  # its words would lead to other pages and another type


def test_images_that_are_told_and_missing_are_refused(tmp_path):
    path = write(tmp_path / "a.tif", FRAMES[:3], text([(None, n) for n in range(4)]))
    with pytest.raises(FileError, match="tells of 4 images .* holds 3"):
        open_series(path)


@pytest.mark.parametrize("big", [False, True])
def test_tiles_and_pyramids_of_ome_are_read_at_full_size(tmp_path, big):
    path = tmp_path / "a.ome.tif"
    frames = np.random.default_rng(1).poisson(5.0, (3, 64, 96)).astype(np.uint16)
    options = {"tile": (32, 32), "photometric": "minisblack"}
    with tifffile.TiffWriter(path, bigtiff=big) as writer:
        writer.write(frames, subifds=1, metadata={"axes": "ZYX"}, **options)
        writer.write(frames[:, ::2, ::2], subfiletype=1, **options)
    np.testing.assert_array_equal(stored(path), frames)


def test_what_ome_leaves_out_follows_from_the_sizes():
    def planes(data):
        return find_planes(ROOT.format(0) + PIXELS.format(data))

    assert planes("<TiffData/>") == [Plane("", n) for n in range(4)]
    assert planes('<TiffData IFD="1" PlaneCount="3" FirstZ="1"/>') == [
        Plane("", n) for n in (1, 2, 3)
    ]
    assert find_planes("<OME broken") == [] and other_files([]) == ()
