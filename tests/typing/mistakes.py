"""Mistakes that a type checker finds: one in each line that ends with mypy's code for it."""

from __future__ import annotations

import lloki

lloki.integrate("a.h5ad", reference="r.h5ad", out="run", n_neighbours=30)  # call-arg
lloki.integrate("a.h5ad", reference="r.h5ad", out="run", benchmark="quick")  # arg-type
lloki.integrate("a.h5ad", reference="r.h5ad", out="run", cae={"step": 2000})  # arg-type
lloki.tl.domains(lloki.project("b.h5ad", run="run", out="b"), number=8)  # call-arg
lloki.pl.umap(lloki.project("b.h5ad", run="run", out="b"), colour="slice")  # call-overload
lloki.settings.thread = 2  # attr-defined
lloki.settings.verbosity = "loud"  # assignment
lloki.tools.domains()  # attr-defined
