"""A training that is stopped in its middle resumes to the same result."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import killed_training as killed
import numpy as np
import pytest

from lloki.cae import CAEModel, checkpoint, train
from lloki.errors import ConfigError, LlokiWarning


@pytest.fixture(scope="module")
def whole() -> CAEModel:
    return killed.run(None)


@pytest.fixture(autouse=True)
def every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_S", 0.0)


def same(one: CAEModel, other: CAEModel) -> None:
    assert one.history == other.history
    for (name, a), b in zip(one.network.state_dict().items(), other.network.state_dict().values()):
        np.testing.assert_array_equal(a, b, err_msg=name)


class Stop(Exception):
    pass


def stop_at(step: int):
    left = step

    def advance(n: int) -> None:
        nonlocal left
        left -= n
        if left <= 0:
            raise Stop

    return advance


def test_a_killed_process_leaves_a_file_that_training_goes_on_from(whole, tmp_path: Path) -> None:
    file = tmp_path / "training.checkpoint"
    command = [sys.executable, killed.__file__, str(file), "17"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    done: list[int] = []
    same(killed.run(str(file), done.append), whole)
    assert done[0] == 16  # steps that were not done again
    assert sum(done) == 40


# between refreshes; just before and at one (9, 18); after the last; at a look; in the wait for the end
@pytest.mark.parametrize("steps", [(2,), (9,), (10,), (18,), (25,), (31, 39), (4, 12, 20, 33)])
def test_stopped_anywhere_and_more_than_once(steps, whole, tmp_path: Path) -> None:
    file = tmp_path / "training.checkpoint"
    for step in steps:
        with pytest.raises(Stop):
            killed.run(str(file), stop_at(step))
    same(killed.run(str(file)), whole)


def test_a_finished_file_gives_its_result_again(whole, tmp_path: Path) -> None:
    file = str(tmp_path / "training.checkpoint")
    same(killed.run(file), whole)
    done: list[int] = []
    same(killed.run(file, done.append), whole)
    assert sum(done) == 40


def test_writing_files_does_not_change_the_result_and_waits_its_time(
    whole, tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_S", 3600.0)
    same(killed.run(str(tmp_path / "training.checkpoint")), whole)
    assert not list(tmp_path.iterdir())


def test_the_file_of_another_training_is_refused(tmp_path: Path) -> None:
    file = str(tmp_path / "training.checkpoint")
    killed.run(file)
    data, tokens = killed.data(), {"a": "t|1", "b": "t|2"}
    other = {**data, "b": data["b"] + 1}
    labels = {"a": ["x"] * 80}
    for given in (
        {"embeddings": other, "tokens": tokens},
        {"embeddings": data, "tokens": {"a": "t|1", "b": "t|1"}},
        {"embeddings": data, "tokens": tokens, "labels": labels},
    ):
        with pytest.raises(ConfigError, match="is of a training with other cells, settings or labels"):
            train(**given, config=killed.CONFIG, checkpoint=file)


def test_a_damaged_file_starts_the_training_anew(whole, tmp_path: Path) -> None:
    file = tmp_path / "training.checkpoint"
    killed.run(str(file))
    content = file.read_bytes()
    for damaged in (content[: len(content) // 2], b"", b"no checkpoint at all"):
        file.write_bytes(damaged)
        with pytest.warns(LlokiWarning, match="starts anew"):
            same(killed.run(str(file)), whole)
