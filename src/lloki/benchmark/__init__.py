"""Methods beside each other on the same cells: what is compared, its scores, and ablations."""

from __future__ import annotations

from lloki.benchmark.alignment import benchmark_alignment
from lloki.benchmark.methods import ABLATIONS, METHODS
from lloki.benchmark.result import Benchmark
from lloki.benchmark.runner import benchmark

__all__ = ["ABLATIONS", "METHODS", "Benchmark", "benchmark", "benchmark_alignment"]
