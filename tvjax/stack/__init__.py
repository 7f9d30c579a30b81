"""Energy stacks denoised in the subspace of their own leading components."""

from tvjax.stack.components import Components as Components
from tvjax.stack.denoise import (
    denoise_stack as denoise_stack,
    fit_components as fit_components,
)
from tvjax.stack.result import StackResult as StackResult
