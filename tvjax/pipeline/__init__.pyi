from .frames import (
    denoise_series as denoise_series,
)
from .input import (
    noise_model as noise_model,
)
from .inspection import (
    inspect_files as inspect_files,
)
from .stack import (
    denoise_stack_file as denoise_stack_file,
)
from .symmetry import (
    denoise_symmetric_series as denoise_symmetric_series,
)
from .training import (
    train_on_files as train_on_files,
)

__all__ = [
    "denoise_series",
    "denoise_stack_file",
    "denoise_symmetric_series",
    "inspect_files",
    "noise_model",
    "train_on_files",
]
