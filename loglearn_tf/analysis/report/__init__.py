"""The report of a study: tables, verdicts on the published findings and figures, as one page and as files."""

from loglearn_tf.analysis.report.fill import fill
from loglearn_tf.analysis.report.writer import write_report

__all__ = ["fill", "write_report"]
