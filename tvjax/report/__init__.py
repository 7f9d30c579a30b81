"""What was done to data, in one folder to read, to show and to parse?"""

from tvjax.report.frames import write_report as write_report
from tvjax.report.page import PAGES as PAGES
from tvjax.report.stack import write_stack_report as write_stack_report
from tvjax.report.symmetry import write_symmetry_report as write_symmetry_report
