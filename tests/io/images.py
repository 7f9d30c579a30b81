"""Images as other programs write them."""

import fabio
import tifffile


def save_cbf(path, image):
    fabio.cbfimage.CbfImage(data=image).write(str(path))
    return path


def save_tiff(path, image):
    tifffile.imwrite(path, image, photometric="minisblack")
    return path


def save_edf(path, image):
    fabio.edfimage.EdfImage(data=image).write(str(path))
    return path
