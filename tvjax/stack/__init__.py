"""Energy stacks denoised in their own subspace, with nothing to set."""

from tvjax.stack.components import Components as Components
from tvjax.stack.denoise import (
    denoise_stack as denoise_stack,
    fit_components as fit_components,
    StackResult as StackResult,
)
