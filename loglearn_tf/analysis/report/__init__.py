"""A study's report: Tables 1 to 4, verdicts on the published findings, figures; one page, and files beside it."""

from loglearn_tf.analysis.report.findings import fill
from loglearn_tf.analysis.report.writer import write_report

__all__ = ["fill", "write_report"]
