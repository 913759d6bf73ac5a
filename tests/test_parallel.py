"""Threads of libraries inside the package's own threads."""

from __future__ import annotations

import sys
import types

import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from lloki import _parallel
from lloki._parallel import map_ordered, single_threaded


def blas() -> list[int]:
    np.zeros((2, 2)) @ np.zeros((2, 2))
    return [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]


def test_libraries_use_one_thread_inside_and_get_theirs_back() -> None:
    with threadpool_limits(2):
        before = blas()
        with single_threaded(), single_threaded():
            assert set(blas()) == {1}
        assert blas() == before
        assert set().union(*map_ordered(lambda _: set(blas()), range(2), threads=1)) == {1}


def test_libraries_of_modules_imported_later_are_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    controller = _parallel.ThreadpoolController

    class Counted(controller):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            looked.append(1)
            super().__init__()

    monkeypatch.setattr(_parallel, "ThreadpoolController", Counted)
    monkeypatch.setattr(_parallel, "_found", None)
    for _ in range(3):
        with single_threaded():
            pass
    assert len(looked) == 1  # looking for them takes longer than many a search
    monkeypatch.setitem(sys.modules, "brings_a_library", types.ModuleType("brings_a_library"))
    with single_threaded():
        pass
    assert len(looked) == 2
