"""Draws the baselines again, after an intended change: ``python tests/pl/regenerate.py [NAME ...]``.

Look at every picture that has changed before committing it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pictures import PICTURES, figure_of
from PIL import Image

BASELINE = Path(__file__).parent / "baseline"
DPI = 50
_TEXT = {
    "font.family": "DejaVu Sans",
    "text.hinting": "none",
    "text.hinting_factor": 8,
}  # as matplotlib tests itself


def save(name: str, path: Path) -> None:
    """Draw one picture into a file, in matplotlib's own style and without pyplot's windows."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_TEXT)
        figure = figure_of(PICTURES[name]())
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
        plt.close("all")


if __name__ == "__main__":
    BASELINE.mkdir(exist_ok=True)
    for name in sys.argv[1:] or PICTURES:
        path = BASELINE / f"{name}.png"
        save(name, path)
        Image.open(path).convert("RGB").quantize(64).save(path, optimize=True)  # a third of the size
