"""What each analysis shows on its page."""

from lloki.report.pages.comparison import build_comparison_page
from lloki.report.pages.imputation import DRAWN, best_first, build_imputation_page
from lloki.report.pages.labels import build_annotation_page, build_labels_page
from lloki.report.pages.neighborhood import build_neighborhood_page
from lloki.report.pages.programs import build_programs_page

__all__ = [
    "DRAWN",
    "best_first",
    "build_annotation_page",
    "build_comparison_page",
    "build_imputation_page",
    "build_labels_page",
    "build_neighborhood_page",
    "build_programs_page",
]
