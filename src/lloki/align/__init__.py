"""Slice alignment: sections of any platform into one coordinate frame. Arrays in, arrays out."""

from lloki.align.alignment import Alignment
from lloki.align.config import AlignConfig, AlignOptions
from lloki.align.pairwise import align
from lloki.align.result import AlignResult
from lloki.align.rigid import Rigid, kabsch, robust_kabsch
from lloki.align.series import StackResult, align_stack
from lloki.align.stack import Link, synchronize
from lloki.align.verdict import Rival, Verdict, judge
from lloki.align.warp import Warp, fit_warp

__all__ = [
    "AlignConfig",
    "AlignOptions",
    "AlignResult",
    "Alignment",
    "Link",
    "Rigid",
    "Rival",
    "StackResult",
    "Verdict",
    "Warp",
    "align",
    "align_stack",
    "fit_warp",
    "judge",
    "kabsch",
    "robust_kabsch",
    "synchronize",
]
