"""Progress in a terminal, a log and a notebook, and its setting."""

from __future__ import annotations

import io
import sys

import pytest
from tqdm import auto
from tqdm.notebook import tqdm_notebook

import lloki
from lloki import _progress
from lloki._log import show
from lloki._progress import chosen


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_gets_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    advance = chosen(True).task("Embedding cells", 10)
    advance(4)
    advance(6)
    advance(0)  # a stage may report once more, that nothing is left
    written = sys.stderr.getvalue()
    assert "\r" in written
    assert "100%" in written
    assert "10/10 [" in written
    assert "cells/s" in written
    assert written.count("\n") == 1


def test_a_line_of_the_log_stands_above_the_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Terminal())
    advance = chosen(True).task("Embedding cells", 10)
    show("a gene is odd")
    advance(10)
    before, after = sys.stderr.getvalue().split("a gene is odd\n")
    assert "Embedding cells" in before
    assert before.endswith("\r")  # the bar was cleared
    assert "10/10" in after


def test_a_log_gets_one_plain_line_for_a_short_task(capsys):
    advance = chosen(True).task("Training", 3, "steps")
    assert capsys.readouterr().err == ""
    for _ in range(3):
        advance(1)
    advance(0)
    written = capsys.readouterr().err
    assert written.startswith("Training: 3/3 steps, ")
    assert written.count("\n") == 1
    assert "\r" not in written


def test_a_log_gets_no_more_lines_than_one_in_15_seconds(capsys, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    advance = chosen(True).task("Training", 40, "steps")
    for _ in range(40):
        now[0] += 1.0
        advance(1)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "Training: 15/40 steps",
        "Training: 30/40 steps",
        "Training: 40/40 steps",
    ]
    assert "1.00 steps/s" in lines[0]


def test_a_notebook_gets_its_own_bar(capsys, monkeypatch):
    made = []

    class Widget(tqdm_notebook):
        def __init__(self, **options: object) -> None:
            made.append(options)
            self.n = self.delay = 0

        def update(self, n: int) -> None:
            self.n += n

        def close(self) -> None:
            made.append("closed")

        def __del__(self) -> None: ...

    monkeypatch.setattr(auto, "tqdm", Widget)
    advance = chosen(True).task("Embedding cells", 10)
    advance(10)
    assert (made[0]["desc"], made[0]["total"], made[0]["unit"]) == ("Embedding cells", 10, " cells")
    assert "bar_format" not in made[0]
    assert made[1] == "closed"
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("asked", "setting", "shown"),
    [
        (None, False, False),
        (None, True, True),
        (False, True, False),
        (True, False, True),
    ],
)
def test_the_setting_is_the_default(capsys, monkeypatch, asked, setting, shown):
    monkeypatch.setattr(lloki.settings, "progress", setting)
    chosen(asked).task("Training", 1)(1)
    assert bool(capsys.readouterr().err) is shown


def test_an_object_to_report_to_is_kept():
    progress = _progress.Progress(shown=True)
    assert chosen(progress) is progress


def test_the_end_of_a_task_is_one_line_in_a_log(capsys):
    for parts in ((10,), (4, 6), (4, 6, 0)):
        advance = chosen(True).task("Embedding", 10)
        for n in parts:
            advance(n)
        assert capsys.readouterr().err.count("10/10 cells") == 1
