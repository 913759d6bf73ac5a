"""Every input is opened once in a call, one is in memory at a time, and nothing is left after an error."""

from __future__ import annotations

import gc
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import anndata as ad
import h5py
import pytest
from typer.testing import CliRunner

import lloki
from lloki.cli import app
from lloki.errors import InputError
from lloki.io import sections
from lloki.run import plan


@pytest.fixture
def opens(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count how often each HDF5 file is opened to be read, by whomever."""
    counts: Counter[str] = Counter()

    real = h5py.File.__init__

    def count(self: h5py.File, name: Any, mode: str = "r", *args: Any, **options: Any) -> None:
        counts[str(name)] += mode == "r"
        real(self, name, mode, *args, **options)

    monkeypatch.setattr(h5py.File, "__init__", count)  # anndata knows the class itself, no other will do
    return counts


def _once(opens: Counter[str], paths: list[Path]) -> None:
    assert {path: opens[str(path)] for path in paths} == dict.fromkeys(paths, 1)


def test_a_run_opens_each_input_once(files, integrate, opens):
    integrate()
    _once(opens, [*files.slices, files.reference])
    opens.clear()
    integrate()  # finds all done, and still has to look at its inputs
    _once(opens, [*files.slices, files.reference])


def test_a_projection_opens_each_slice_once(base, files, opens):
    lloki.project(files.slices, run=base.folder)
    _once(opens, files.slices)
    assert not opens[str(files.reference)]
    lloki.project_reference(files.reference, run=base.folder)
    _once(opens, [files.reference])


def test_a_reference_with_an_embedding_of_its_own_is_opened_once(files, integrate, opens, tmp_path):
    with_rows = []
    for path in [*files.slices, files.reference]:
        adata = ad.read_h5ad(path)
        adata.obsm["X_mine"] = adata.X[:, :5].toarray()
        with_rows.append(tmp_path / path.name)
        adata.write_h5ad(with_rows[-1])
    result = integrate(with_rows[:3], embedder="precomputed:X_mine", reference=None)
    opens.clear()
    lloki.project_reference(with_rows[3], run=result.folder)
    _once(opens, [with_rows[3]])


@pytest.mark.parametrize("command", ["check", "plan", "io.check", "io.read"])
def test_looking_at_inputs_opens_each_once(command, files, opens):
    if command == "check":
        arguments = ["check", *map(str, files.slices), "--reference", str(files.reference)]
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        assert "All can be used." in result.output
    elif command == "plan":
        assert plan(files.slices, reference=files.reference).ok
    elif command == "io.check":
        assert all(check.ok for check in lloki.io.check_slices(files.slices))
    else:
        assert len(lloki.io.read_slices(files.slices)) == 3
    _once(opens, files.slices if command.startswith("io") else [*files.slices, files.reference])


@pytest.mark.parametrize("bad", [False, True])
def test_one_input_is_in_memory_at_a_time(bad, files, integrate, monkeypatch, tmp_path):
    known: list[weakref.ref[ad.AnnData]] = []
    alive: list[int] = []
    given: list[Path] = list(files.slices)
    if bad:
        without = ad.read_h5ad(files.beta)
        without.obsm.clear()
        given[1] = tmp_path / files.beta.name
        without.write_h5ad(given[1])
    real_open, real_assemble = sections.open_input, sections._assemble

    def remember(make: Callable[..., ad.AnnData], *args: Any) -> ad.AnnData:
        adata = make(*args)
        known.append(weakref.ref(adata))
        return adata

    def open_input(source: Any, **options: Any) -> ad.AnnData:
        gc.collect()
        alive.append(sum(one() is not None for one in known))
        return remember(partial(real_open, **options), source)

    monkeypatch.setattr(sections, "open_input", open_input)
    monkeypatch.setattr(sections, "_assemble", lambda *args: remember(real_assemble, *args))
    integrate(given, skip_bad=bad)
    assert alive == [0, 0, 0]


def test_errors_of_slices_and_reference_come_together_and_nothing_stays(files, integrate, tmp_path):
    with pytest.raises(InputError) as caught:
        integrate([files.alpha_1, tmp_path / "gone.h5ad"], reference=tmp_path / "lost.h5ad", skip_bad=True)
    assert "2 errors in the inputs" in str(caught.value)
    for name in ("gone", "lost"):
        assert f"{name}.h5ad: does not exist" in str(caught.value)
    assert not (tmp_path / "run").exists()


def test_an_error_removes_what_this_call_copied_and_nothing_else(files, integrate, tmp_path):
    work = tmp_path / "run" / "work"
    integrate([files.alpha_1, files.beta], project_only=[])
    there = sorted(p.relative_to(work) for p in work.rglob("*"))
    with pytest.raises(InputError, match="does not exist"):
        integrate([*files.slices, tmp_path / "gone.h5ad"])
    assert sorted(p.relative_to(work) for p in work.rglob("*")) == there
