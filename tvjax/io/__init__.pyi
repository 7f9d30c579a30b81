from .encoding import (
    fit_scale as fit_scale,
    Tally as Tally,
)
from .errors import (
    FileError as FileError,
)
from .flats import (
    find_flats as find_flats,
    Flats as Flats,
    read_flats as read_flats,
)
from .hdf5.write_stack import (
    write_maps as write_maps,
)
from .journal import (
    unfinished_run as unfinished_run,
)
from .provenance import (
    Json as Json,
    Provenance as Provenance,
)
from .reading import (
    open_series as open_series,
    read_mask as read_mask,
)
from .series import (
    Frame as Frame,
    Metadata as Metadata,
    Series as Series,
    series_of as series_of,
)
from .stack import (
    open_stack as open_stack,
    Stack as Stack,
    stack_of as stack_of,
)
from .tables import (
    read_spectra as read_spectra,
    Spectrum as Spectrum,
)
from .writing import (
    create_series as create_series,
    create_stack as create_stack,
    save_series as save_series,
    save_stack as save_stack,
    SeriesWriter as SeriesWriter,
)

__all__ = [
    "create_series",
    "create_stack",
    "FileError",
    "find_flats",
    "fit_scale",
    "Flats",
    "Frame",
    "Json",
    "Metadata",
    "open_series",
    "open_stack",
    "Provenance",
    "read_flats",
    "read_mask",
    "read_spectra",
    "save_series",
    "save_stack",
    "Series",
    "series_of",
    "SeriesWriter",
    "Spectrum",
    "Stack",
    "stack_of",
    "Tally",
    "unfinished_run",
    "write_maps",
]
