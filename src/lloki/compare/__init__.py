"""Comparison of conditions over slices of any panels, with donors as replicates. Arrays in, tables out."""

from lloki.compare._comparison import COLUMNS, Comparison, compare
from lloki.compare.config import CompareConfig, CompareOptions
from lloki.compare.design import Design, Identified, SliceFacts, identify
from lloki.compare.inputs import ConditionSlice
from lloki.compare.linear import Compared, compare_conditions, moderate
from lloki.compare.multiplicity import adjust_tables, benjamini_hochberg

__all__ = [
    "COLUMNS",
    "CompareConfig",
    "CompareOptions",
    "Compared",
    "Comparison",
    "ConditionSlice",
    "Design",
    "Identified",
    "SliceFacts",
    "adjust_tables",
    "benjamini_hochberg",
    "compare",
    "compare_conditions",
    "identify",
    "moderate",
]
