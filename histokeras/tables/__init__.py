"""Read and check the tables that carry data from one stage to the next."""

from histokeras.tables.columns import (
    find_column,
    folded_name,
    nearest_name,
    require_columns,
    require_disjoint_patients,
    with_standard_columns,
)
from histokeras.tables.own import read_own
from histokeras.tables.read import MISSING, read_table, row_numbers, text_table

__all__ = [
    "MISSING",
    "find_column",
    "folded_name",
    "nearest_name",
    "read_own",
    "read_table",
    "require_columns",
    "require_disjoint_patients",
    "row_numbers",
    "text_table",
    "with_standard_columns",
]
