"""What a run keeps of its reference."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import anndata as ad
import numpy as np

from lloki.embed import Factor
from lloki.run.reference import Reference


def test_genes_of_slices_that_are_only_embedded_do_not_enter_the_fit():
    counts = np.random.default_rng(0).poisson(1.0, (40, 5)).astype(np.float32)
    reference = ad.AnnData(counts)
    reference.var_names = list("abcde")
    trained: Any = SimpleNamespace(genes=("a", "b", "c"))
    embedded: Any = SimpleNamespace(genes=("b", "d"))
    alone = Reference.cut(reference, [trained], [trained])
    beside = Reference.cut(reference, [trained], [trained, embedded])
    assert beside.genes == ("a", "b", "c", "d")  # its sparsity is that over its own genes
    assert beside.hash == alone.hash
    assert beside.summary(Factor()).genes == alone.summary(Factor()).genes == ("a", "b", "c")
    both = Reference.cut(reference, [trained, embedded], [trained, embedded])
    assert both.hash != alone.hash
    assert both.summary(Factor()).genes == ("a", "b", "c", "d")
