"""Files in, files out: every format of frames behind one `Series` or one `Stack`."""

from tvjax.io.encoding import fit_scale as fit_scale, Tally as Tally
from tvjax.io.errors import FileError as FileError
from tvjax.io.flats import (
    find_lights as find_lights,
    Light as Light,
    read_light as read_light,
)
from tvjax.io.hdf5.write_stack import write_maps as write_maps
from tvjax.io.provenance import Provenance as Provenance
from tvjax.io.reading import open_series as open_series, read_mask as read_mask
from tvjax.io.series import (
    Frame as Frame,
    Metadata as Metadata,
    Series as Series,
    series_of as series_of,
)
from tvjax.io.stack import (
    open_stack as open_stack,
    Stack as Stack,
    stack_of as stack_of,
)
from tvjax.io.tables import read_spectra as read_spectra, Spectrum as Spectrum
from tvjax.io.writing import (
    create_series as create_series,
    create_stack as create_stack,
    save_series as save_series,
    save_stack as save_stack,
    SeriesWriter as SeriesWriter,
)
