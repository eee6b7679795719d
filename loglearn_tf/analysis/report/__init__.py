"""A study's report: its tables, verdicts on the published findings, figures; one page, and files beside it."""

from loglearn_tf.analysis.report.fill import fill
from loglearn_tf.analysis.report.writer import write_report

__all__ = ["fill", "write_report"]
