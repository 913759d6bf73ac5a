"""Defaults of options come from the functions that the commands call."""

from __future__ import annotations

import importlib
import inspect
import sys
from functools import reduce

import anndata
import numpy as np
import pytest
import typer.main

from lloki.cli import app
from lloki.cli.defaults import defaults_from, function_defaults, given


def _commands() -> dict[str, typer.core.TyperCommand]:
    found = {}
    waiting = {"lloki": typer.main.get_command(app)}
    while waiting:
        name, command = waiting.popitem()
        for sub, one in getattr(command, "commands", {}).items():
            waiting[f"{name} {sub}"] = one
        if not hasattr(command, "commands"):
            found[name.removeprefix("lloki ")] = command
    return found


COMMANDS = _commands()
DECLARED = {name: c for name, c in COMMANDS.items() if hasattr(c.callback, "defaults_from")}
DEFAULTS = {name: function_defaults(command) for name, command in DECLARED.items()}
# commands need their values for more than the one function: constants of lloki.keys, as in the function
SLOTS = {"slice_key": "slice", "use_rep": "X_lloki"}
CALLS = {  # of commands that call the topmost of their functions first
    "integrate": "x.h5ad --out OUT",
    "project": "x.h5ad --run RUN --out OUT",
    "project-reference": "x.h5ad --run RUN --out OUT",
    "models fetch": "scgpt-human",
    "align": "x.h5ad --out OUT",
    "benchmark": "RUN --out OUT",
    "annotate": "x.h5ad --out OUT --markers x.csv",
    "compare": "x.h5ad --out OUT --condition-key c --control d",
    "impute": "x.h5ad a --out OUT",
    "neighborhood": "x.h5ad --out OUT --focal T --neighbor B --label-key type",
    "programs": "x.h5ad --out OUT",
    "transfer-labels": "x.h5ad --out OUT --label-key type",
}


def test_the_commands_declare_the_functions_that_they_call():
    assert {"integrate", "project", "align", "impute", "models fetch"} <= DECLARED.keys()


@pytest.mark.parametrize("name", DECLARED)
def test_every_default_is_the_functions(name):
    defaults = DEFAULTS[name]
    assert defaults
    for parameter in DECLARED[name].params:
        if parameter.name in SLOTS and parameter.default is not None:
            assert parameter.default == defaults[parameter.name] == SLOTS[parameter.name]
        elif parameter.name in defaults:
            assert parameter.default is None, f"{name} --{parameter.name} has a default of its own"


@pytest.mark.parametrize("name", DECLARED)
def test_renamed_options_and_their_parameters_exist(name):
    options = {parameter.name for parameter in DECLARED[name].params}
    for function, renamed in DECLARED[name].callback.defaults_from:
        module, _, path = function.partition(":")
        target = reduce(getattr, path.split("."), importlib.import_module(module))
        assert renamed.keys() <= options
        assert set(renamed.values()) - {None} <= inspect.signature(target).parameters.keys()


def test_help_shows_the_functions_defaults(lloki):
    shown = " ".join(lloki("integrate", "--help").output.replace("│", " ").split())
    for text in ("[default: factor]", "[default: fast]", "Random seed. [default: 0]", "[default: 1.0]"):
        assert text in shown


def test_help_shows_the_values_of_a_configuration_file(lloki, tmp_path):
    (tmp_path / "mine.toml").write_text("seed = 41")
    shown = lloki("integrate", "--config", tmp_path / "mine.toml", "--help").output
    assert "[default: 41]" in shown


class Called(BaseException):
    pass


@pytest.fixture
def passed(monkeypatch):
    """Options that the first of a command's functions was called with; it does nothing."""
    options: dict[str, object] = {}

    def record(*inputs: object, **given: object) -> None:
        options.update(given)
        raise Called

    for command in DECLARED.values():
        module, _, name = command.callback.defaults_from[0][0].partition(":")
        monkeypatch.setattr(importlib.import_module(module), name, record)
        if hasattr(sys.modules[command.callback.__module__], "read_integrated"):
            read = f"{command.callback.__module__}.read_integrated"
            monkeypatch.setattr(read, lambda file: anndata.AnnData(np.ones((1, 1))))
    return options


@pytest.mark.parametrize("name", CALLS)
def test_a_command_passes_on_nothing_that_the_user_did_not_give(lloki, passed, tmp_path, name):
    _, renamed = DECLARED[name].callback.defaults_from[0]
    optional = {parameter.name for parameter in DECLARED[name].params if not parameter.required}
    own = {renamed.get(option, option) for option in DEFAULTS[name].keys() & optional - SLOTS.keys()}
    with pytest.raises(Called):
        lloki(*name.split(), *CALLS[name].replace("OUT", str(tmp_path)).replace("RUN", str(tmp_path)).split())
    assert own
    assert not passed.keys() & own


def test_a_command_passes_on_what_the_user_gave(lloki, passed, tmp_path):
    with pytest.raises(Called):
        lloki("project", "x.h5ad", "--run", tmp_path, "--out", tmp_path, "--skip-bad", "--workers", 2)
    assert passed["skip_bad"] is True
    assert passed["workers"] == 2
    assert "scheduler" not in passed


def test_given_keeps_what_is_false_or_zero():
    assert given(a=None, b=False, c=0, d="") == {"b": False, "c": 0, "d": ""}


def test_the_topmost_declaration_wins():
    @defaults_from("lloki.run:RunConfig.make")
    @defaults_from("lloki.cae.config:CAEConfig")
    def command() -> None: ...

    assert [source for source, _ in command.defaults_from] == [
        "lloki.run:RunConfig.make",
        "lloki.cae.config:CAEConfig",
    ]
