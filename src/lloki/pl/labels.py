"""Labels that were carried over, and genes that were imputed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from lloki import keys
from lloki.errors import InputError
from lloki.pl._slots import INK, obsm

if TYPE_CHECKING:
    import anndata as ad
    import pandas as pd
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from lloki.analysis import LabelTransfer


def reliability(curve: pd.DataFrame | LabelTransfer) -> Figure:
    """Draw how often labels of a confidence are right.

    Parameters
    ----------
    curve
        What :func:`lloki.tl.transfer_labels` returned, for its left-out cells; or a table of
        :func:`lloki.analysis.reliability`, where the truth is known.
    """
    import pandas as pd

    from lloki.report import labeling

    table = curve if isinstance(curve, pd.DataFrame) else curve.curve
    missing = [c for c in ("confidence", "accuracy", "n_cells") if c not in table]
    if missing:
        raise InputError("the column is absent", slot=missing[0], hint="Pass what transfer_labels returned")
    return labeling.reliability_curve(table, ink=INK)


def confusion(truth: NDArray | pd.Series, told: NDArray | pd.Series) -> Figure:
    """Draw which types (n,) were given which labels (n,); cells without a true type are left out.

    Raises
    ------
    InputError
        They are not as many, or no cell has a true type.
    """
    import pandas as pd

    from lloki.report import labeling

    a, b = pd.Series(np.asarray(truth, object)), pd.Series(np.asarray(told, object))
    if len(a) != len(b):
        raise InputError(f"{len(a)} true types for {len(b)} labels", hint="Pass both of the same cells")
    known = (a.notna() & b.notna() & (a.astype(str) != "")).to_numpy()
    if not known.any():
        raise InputError("no cell has a true type", hint="Pass cells whose type is known")
    shares, rows, columns = labeling.shares_told(
        a[known].astype(str).to_numpy(), b[known].astype(str).to_numpy()
    )
    return labeling.confusion_map(shares, rows, columns, ink=INK)


def imputation_scores(adata: ad.AnnData) -> Figure:
    """Draw how well genes were imputed where the truth is known, those left out too.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.impute` returned it.

    Raises
    ------
    InputError
        It is none of these.
    """
    import json

    import pandas as pd

    from lloki.report import labeling

    said = adata.uns.get(keys.UNS, {}).get("impute")
    if said is None:
        slot = f"uns[{keys.UNS!r}]"
        raise InputError("holds no imputation", slot=slot, hint="Pass what lloki.tl.impute returned")
    scores = pd.concat([adata.var, said["left_out"]])
    return labeling.score_curve(scores, least=json.loads(said["parameters"])["min_score"], ink=INK)


def imputed(adata: ad.AnnData, gene: str, *, truth: NDArray | None = None) -> Figure:
    """Draw an imputed gene where the cells lie, beside its truth (n,) if that is known.

    Parameters
    ----------
    adata
        As :func:`lloki.tl.impute` returned it.
    gene
        One of its genes.
    truth
        (n,) in the same unit.

    Raises
    ------
    InputError
        There is no such gene, no positions, or the truth is not of these cells.
    """
    from lloki.report import labeling

    if gene not in adata.var_names:
        raise InputError("was not imputed", where=gene, hint=f"There are {list(adata.var_names[:10])}")
    values = np.asarray(adata[:, gene].X, float).ravel()
    panels = {f"{gene}, imputed": values}
    if truth is not None:
        if np.shape(truth) != values.shape:
            raise InputError(f"{np.shape(truth)} true values for {len(values)} cells", hint="Pass one a cell")
        panels = {f"{gene}, measured": np.asarray(truth, float), **panels}
    return labeling.value_panels(obsm(adata, keys.SPATIAL)[:, :2], panels, ink=INK)
