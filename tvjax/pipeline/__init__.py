"""Files in, files out: scans frame by frame, and energy stacks as a whole."""

from tvjax.pipeline.frames import denoise_series as denoise_series
from tvjax.pipeline.input import noise_model as noise_model
from tvjax.pipeline.inspection import inspect_files as inspect_files
from tvjax.pipeline.stack import denoise_stack_file as denoise_stack_file
from tvjax.pipeline.symmetry import (
    denoise_symmetric_series as denoise_symmetric_series,
)
from tvjax.pipeline.training import train_on_files as train_on_files
