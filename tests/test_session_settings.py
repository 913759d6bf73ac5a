"""``lloki.settings``: what it governs, and mistakes in it."""

from __future__ import annotations

import logging

import pytest
import torch

import lloki
from lloki._device import choose_device
from lloki._log import logger
from lloki._parallel import n_threads
from lloki.errors import ConfigError


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch):
    """The settings; those that a test changes are put back."""
    for name, value in vars(lloki.settings).items():
        if name != "verbosity":
            monkeypatch.setattr(lloki.settings, name, value)
    return lloki.settings


@pytest.fixture
def log():
    """The package's logger as an import leaves it, before and after."""
    yield logger
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    vars(lloki.settings)["verbosity"] = "warning"


def test_the_defaults():
    assert vars(type(lloki.settings)()) == {
        "threads": None,
        "device": "auto",
        "progress": False,
        "verbosity": "warning",
    }


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("thread", 2, r"lloki\.settings has no 'thread'\. Did you mean 'threads'\?"),
        ("seed", 2, r"no 'seed'"),
        ("threads", 0, "threads must be a whole number above 0, or None, got 0"),
        ("threads", True, "whole number"),
        ("threads", 1.5, "whole number"),
        ("device", "gpu", "device must be 'auto', 'cpu', 'cuda'"),
        ("device", "cuda:", "device must be"),
        ("device", None, "device must be"),
        ("progress", "yes", "progress must be True or False, got 'yes'"),
        ("verbosity", "loud", "verbosity must be 'debug', 'info', 'warning' or 'error', got 'loud'"),
        ("verbosity", 2, "verbosity must be"),
    ],
)
def test_mistakes_are_named_and_change_nothing(name, value, message):
    before = dict(vars(lloki.settings))
    with pytest.raises(ConfigError, match=message):
        setattr(lloki.settings, name, value)
    assert vars(lloki.settings) == before


def test_threads_win_over_the_environment(settings, monkeypatch):
    monkeypatch.setenv("LLOKI_THREADS", "3")
    assert n_threads() == 3
    settings.threads = 2
    assert n_threads() == 2
    settings.threads = None
    assert n_threads() == 3


def test_the_device_of_calls_without_one(settings):
    settings.device = "cpu"
    assert choose_device(None) == torch.device("cpu")
    settings.device = "cuda:99"
    with pytest.raises(ConfigError, match=r"'cuda:99' is not available here; choose one of: auto, .*cpu"):
        choose_device(None)
    assert choose_device("cpu") == torch.device("cpu")


def test_an_import_leaves_the_log_alone(log):
    assert log.level == logging.NOTSET
    assert not log.handlers


def test_verbosity_shows_the_log(log, capsys, monkeypatch):
    monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest has some
    logger.info("before")
    lloki.settings.verbosity = "info"
    logger.info("%d cells", 3)
    logger.debug("not this")
    lloki.settings.verbosity = "error"
    logger.warning("nor this")
    assert capsys.readouterr().err == "3 cells\n"
    assert len(log.handlers) == 1


def test_verbosity_leaves_a_programs_own_handlers(log, capsys):
    records: list[str] = []

    class Own(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record.getMessage())

    logging.getLogger().addHandler(Own())
    lloki.settings.verbosity = "debug"
    logger.debug("a detail")
    assert records == ["a detail"]
    assert not log.handlers
    assert capsys.readouterr().err == ""
