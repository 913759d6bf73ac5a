"""Defaults of options come from the functions that the commands call."""

from __future__ import annotations

import importlib
import inspect
from functools import reduce

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
NOT_YET = ("align", "impute", "neighborhood", "programs")  # commands with defaults of their own
# commands need their values for more than the one function: constants of lloki.keys, as in the function
SLOTS = {"slice_key": "slice", "key": "X_lloki"}


def test_the_commands_declare_the_functions_that_they_call():
    assert {"integrate", "project", "align", "impute", "models fetch"} <= DECLARED.keys()


@pytest.mark.parametrize("name", DECLARED)
def test_every_default_is_the_functions(name):
    defaults = function_defaults(DECLARED[name])
    assert defaults
    for parameter in DECLARED[name].params:
        if parameter.name in defaults and not parameter.required:
            if parameter.name in SLOTS and parameter.default is not None:
                assert parameter.default == defaults[parameter.name] == SLOTS[parameter.name]
            elif name not in NOT_YET:
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


def test_a_command_passes_on_only_what_the_user_gave(lloki, tmp_path, monkeypatch):
    passed = []

    class Stop(Exception):
        pass

    def record(*inputs: object, **options: object) -> None:
        passed.append(options)
        raise Stop

    monkeypatch.setattr("lloki.run.project", record)
    own = {"run", "out", "progress"}
    for given_by_user in ([], ["--skip-bad", "--workers", 2]):
        with pytest.raises(Stop):
            lloki("project", "x.h5ad", "--run", tmp_path, "--out", tmp_path, *given_by_user)
    assert passed[0].keys() == own
    assert {k: v for k, v in passed[1].items() if k not in own} == {"skip_bad": True, "workers": 2}


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
