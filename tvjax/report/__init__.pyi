from .frames import (
    write_report as write_report,
)
from .page import (
    PAGES as PAGES,
)
from .stack import (
    write_stack_report as write_stack_report,
)
from .symmetry import (
    write_symmetry_report as write_symmetry_report,
)

__all__ = [
    "PAGES",
    "write_report",
    "write_stack_report",
    "write_symmetry_report",
]
