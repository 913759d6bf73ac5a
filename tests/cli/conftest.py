"""Slices in files, a run made from the command line, and a way to call the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from lloki.cli import app
from tissue import small_tissue

Lloki = Callable[..., Result]


@pytest.fixture(scope="session")
def lloki() -> Lloki:
    """Call ``lloki`` with arguments; the result holds exit_code, stdout and stderr."""

    def call(*arguments: object) -> Result:
        result = CliRunner().invoke(app, [str(a) for a in arguments])
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    return call


@pytest.fixture(scope="session")
def tissue_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with alphafish_1, betaseq_1, gammamap_1 and reference, all .h5ad."""
    folder = tmp_path_factory.mktemp("tissue")
    small_tissue(n_cells=150, n_reference=200).write(folder)
    return folder


@pytest.fixture(scope="session")
def config_file(tissue_files: Path) -> Path:
    """Few steps of training, and the reference, named relative to the file."""
    file = tissue_files / "run.toml"
    file.write_text(
        'reference = "reference.h5ad"\nlabel-key = "cell_type"\nbenchmark = "none"\nseed = 3\n'
        "n-neighbors = 10\n\n"
        "[fp]\nkeep = 'random'\n\n[cae]\nsteps = 5\ncheck_every = 5\nbatch_size = 200\n"
    )
    return file


@pytest.fixture(scope="session")
def finished(
    lloki: Lloki, tissue_files: Path, config_file: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Result]:
    """A run of all three slices through ``lloki integrate``, and what was printed."""
    out = tmp_path_factory.mktemp("run") / "out"
    slices = sorted(tissue_files.glob("*_1.h5ad"))
    result = lloki(
        *("integrate", *slices, "--config", config_file, "--out", out, "--n-neighbors", 12),
        *("--technology", "MERFISH=alphafish_1.h5ad"),
    )
    assert result.exit_code == 0, result.output
    return out, result
