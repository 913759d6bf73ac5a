"""From an instrument's output folder to ``.h5ad`` files, one a sample."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lloki import keys
from lloki.errors import ConfigError
from lloki.io.folders import read_folder, samples_in
from lloki.io.quality import overall_control_rate
from lloki.io.sources import stem
from lloki.io.units import median_spacing, unit_of
from lloki.io.writing import atomic


@dataclass(frozen=True)
class Converted:
    """One sample as written.

    Attributes
    ----------
    name, file
        The sample and its file.
    technology, panel
        What it would be conditioned on; ``panel`` is ``""`` where the files do not name it.
    cells, genes
        Its size.
    controls
        Number of control features, which are left out.
    control_rate
        Their share of all counts; NaN if it is not known.
    extent, spacing, unit
        Width and height; median distance to the nearest cell; their unit.
    """

    name: str
    file: Path
    technology: str
    panel: str
    cells: int
    genes: int
    controls: int
    control_rate: float
    extent: tuple[float, float]
    spacing: float
    unit: str


def convert_folder(
    folder: str | Path,
    out: str | Path,
    *,
    min_counts: int = 0,
    max_control_rate: float | None = None,
    pixel_size: float | None = None,
) -> list[Converted]:
    """Read every sample in an instrument's output folder and write each as ``.h5ad``.

    Parameters
    ----------
    folder, min_counts, max_control_rate, pixel_size
        As for :func:`read_folder`; one sample is in memory at a time.
    out
        File to write, or a folder, in which each sample is a file of its name.

    Returns
    -------
    list of Converted

    Raises
    ------
    ConfigError
        If the folder holds several samples and ``out`` is the name of one file.
    InputError, OutputError
        If a sample cannot be read, or not written.
    """
    samples, out = samples_in(folder), Path(out).expanduser()
    one = out.suffix == ".h5ad"
    if one and samples:
        raise ConfigError(
            f"{folder} holds {len(samples)} samples ({', '.join(samples)}). "
            f"Give a folder: --out {out.with_suffix('')}"
        )
    parts = samples or {stem(folder): Path(folder)}
    return [
        _convert(name, path, out if one else out / f"{name}.h5ad", (min_counts, max_control_rate, pixel_size))
        for name, path in parts.items()
    ]


def _convert(name: str, path: Path, file: Path, limits: tuple[int, float | None, float | None]) -> Converted:
    min_counts, max_control_rate, pixel_size = limits
    adata = read_folder(path, min_counts=min_counts, max_control_rate=max_control_rate, pixel_size=pixel_size)
    with atomic(file) as part:
        adata.write_h5ad(part, compression="gzip")
    coords = adata.obsm[keys.SPATIAL]
    width, height = (float(size) for size in np.ptp(coords[:, :2], axis=0))
    return Converted(
        name=name,
        file=file,
        technology=adata.uns[keys.TECHNOLOGY],
        panel=str(adata.uns.get(keys.PANEL, "")),
        cells=adata.n_obs,
        genes=adata.n_vars,
        controls=int(adata.uns["control_features"]),
        control_rate=overall_control_rate(adata.X, adata.obs),
        extent=(width, height),
        spacing=median_spacing(coords),
        unit=unit_of(adata),
    )
