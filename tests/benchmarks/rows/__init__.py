"""The table of the rows."""

from tests.benchmarks.rows import basic, reach
from tests.benchmarks.rows.row import METRICS, Metric, Row

__all__ = ["METRICS", "ROWS", "Metric", "Row"]

#: By name, in the order of the report.
ROWS: dict[str, Row] = {row.name: row for row in [*basic.ROWS, *reach.ROWS]}
