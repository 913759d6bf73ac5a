"""The paper's test of slice alignment: genes are taken away, one slice is turned, methods put it back."""

from lloki.benchmark.alignment._protocol import benchmark_alignment, summarize

__all__ = ["benchmark_alignment", "summarize"]
