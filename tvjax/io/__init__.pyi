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
from .inputs import (
    find_inputs as find_inputs,
    Input as Input,
    names_several as names_several,
    single_input as single_input,
)
from .journal import (
    unfinished_run as unfinished_run,
)
from .output_names import (
    is_folder as is_folder,
)
from .proof import (
    prove_maps as prove_maps,
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
    "find_inputs",
    "fit_scale",
    "Flats",
    "Frame",
    "Input",
    "is_folder",
    "Json",
    "Metadata",
    "names_several",
    "open_series",
    "open_stack",
    "prove_maps",
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
    "single_input",
    "Stack",
    "stack_of",
    "Tally",
    "unfinished_run",
    "write_maps",
]
