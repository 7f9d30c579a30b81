from .frames import (
    denoise_files as denoise_files,
)
from .input import (
    noise_model as noise_model,
)
from .inspection import (
    inspect_files as inspect_files,
)
from .many import (
    denoise_many as denoise_many,
)
from .stack import (
    denoise_stack_files as denoise_stack_files,
)
from .symmetry import (
    denoise_symmetric_files as denoise_symmetric_files,
)
from .training import (
    train_on_files as train_on_files,
)
from .training_checkpoint import (
    unfinished_training as unfinished_training,
)
from .watching import (
    denoise_watched as denoise_watched,
)

__all__ = [
    "denoise_files",
    "denoise_many",
    "denoise_stack_files",
    "denoise_symmetric_files",
    "denoise_watched",
    "inspect_files",
    "noise_model",
    "train_on_files",
    "unfinished_training",
]
