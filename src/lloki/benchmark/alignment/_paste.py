"""PASTE (Zeira et al. 2022), in an environment of its own: it does not run with current versions of POT."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path

import numpy as np

from lloki.align import Rigid
from lloki.benchmark.alignment.trial import FEWEST_SHARED, Trial
from lloki.errors import ConfigError

ALPHAS = (0.0001, 0.001, 0.005, 0.01, 0.05)  # those of the paper
SCRIPT = Path(__file__).parent / "paste_pair.py"  # run by path, in the other environment
CELLS = 500  # a slice: at 1,000 the five alphas take minutes, and time grows with more than the square


def paste(python: str, trial: Trial, *, seed: int, cells: int = CELLS) -> list[tuple[float, Rigid]]:
    """Align the slices of a trial by their shared genes: alpha and transform, moving to fixed.

    Parameters
    ----------
    python
        Python interpreter of an environment with ``paste-bio`` and ``POT==0.9.4``.
    trial
        With three shared genes or more; nothing is returned with fewer.
    seed
        Random seed.
    cells
        Drawn of each slice: PASTE holds several cells x cells matrices.

    Raises
    ------
    ConfigError
        If PASTE cannot be run there.
    """
    if len(trial.shared) < FEWEST_SHARED:
        return []
    rng = np.random.default_rng(seed)
    arrays = {}
    for name, panel, xy in zip(("fixed", "moving"), trial.panels, trial.positions):
        rows = np.sort(rng.permutation(len(xy))[:cells])
        arrays[f"{name}_counts"] = panel.only(trial.shared).counts[rows].toarray()
        arrays[f"{name}_xy"] = xy[rows]
    with tempfile.TemporaryDirectory() as folder:
        given, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
        np.savez(given, alphas=np.array(ALPHAS), **arrays)
        try:
            subprocess.run(
                [python, str(SCRIPT), str(given), str(out)], check=True, capture_output=True, text=True
            )
        except (OSError, subprocess.CalledProcessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            last = output.strip().splitlines()[-1] if output.strip() else ""
            raise ConfigError(
                f"PASTE does not run with {python}: {last} Give the Python of an environment made by: "
                "python -m venv paste && paste/bin/pip install paste-bio POT==0.9.4"
            ) from error
        found = np.load(out)
        return [(a, Rigid(r, t)) for a, r, t in zip(ALPHAS, found["rotations"], found["translations"])]
