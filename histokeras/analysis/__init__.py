"""Pure numbers on tables and arrays: metrics, intervals, aggregation."""
