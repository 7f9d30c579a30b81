"""Files in, files out: every format of frames behind one `Series`."""

from tvjax.io.encoding import fit_scale as fit_scale, Tally as Tally
from tvjax.io.errors import FileError as FileError
from tvjax.io.provenance import Provenance as Provenance
from tvjax.io.reading import open_series as open_series, read_mask as read_mask
from tvjax.io.series import (
    Frame as Frame,
    Metadata as Metadata,
    Series as Series,
    series_of as series_of,
)
from tvjax.io.writing import (
    create_series as create_series,
    save_series as save_series,
    SeriesWriter as SeriesWriter,
)
