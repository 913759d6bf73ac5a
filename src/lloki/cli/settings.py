"""``--config FILE.toml``: defaults for a command's options, which the command line overrides.

The file becomes the command's ``default_map`` before its other options are processed, so its values are
checked as values from the command line are, and their types by the defaults of the command's functions. The
tables ``[fp]`` and ``[cae]`` hold the fields of `FPConfig` and `CAEConfig` that have no option of their own.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Annotated, Any

import typer

from lloki._names import did_you_mean
from lloki.cli.defaults import function_defaults
from lloki.errors import ConfigError

_FILE, _TABLES = "lloki.config", "lloki.tables"  # in ctx.meta
_PATHS = ("slices", "reference", "out", "model", "samplesheet")
_NOT_IN_FILE = ("config", "debug", "help")


def _load(ctx: typer.Context, file: Path | None) -> Path | None:
    if file is not None:
        values = _parse(file)
        options = {p.name: p for p in ctx.command.params if p.name and p.name not in _NOT_IN_FILE}
        tables = {name: values.pop(name) for name in ("fp", "cae") if isinstance(values.get(name), dict)}
        defaults = function_defaults(ctx.command)
        ctx.default_map = {}
        for key, value in values.items():
            name = key.replace("-", "_")
            if name not in options:
                known = [o.replace("_", "-") for o in options]
                raise ConfigError(
                    f"{file}: there is no option {key!r}. {did_you_mean(key, [*known, 'fp', 'cae'])}"
                )
            if _takes_several(options[name]) and not isinstance(value, list):
                value = [value]
            elif isinstance(value, (list, dict)) and not _takes_several(options[name]):
                raise ConfigError(f"{file}: {key} takes one value, got {value!r}.")
            default = defaults.get(name)
            if isinstance(default, (bool, int, float, str)) and not _same_type(value, default):
                raise ConfigError(
                    f"{file}: {key} must have the type of its default {default!r}, got {value!r}."
                )
            ctx.default_map[name] = _beside(file, value) if name in _PATHS else value
        ctx.meta[_FILE] = file
        ctx.meta[_TABLES] = {name: _fields(file, name, table, set(options)) for name, table in tables.items()}
    return file


Config = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE.toml",
        callback=_load,
        is_eager=True,
        help="Options by their long names, and tables \\[fp] and \\[cae] with parameters of LLOKI-FP and "
        "LLOKI-CAE. Relative paths are relative to the file. The command line takes precedence.",
        rich_help_panel="Inputs",
    ),
]


def tables(ctx: typer.Context) -> Mapping[str, dict[str, Any]]:
    """Return the tables of the file: ``{"fp": {...}, "cae": {...}}``, as far as it has them."""
    found: dict[str, dict[str, Any]] = ctx.meta.get(_TABLES, {})
    return found


def source_of(error: Any) -> str:
    """Return ``" (in FILE.toml)"`` if the value of a usage error came from the file."""
    ctx, param = getattr(error, "ctx", None), getattr(error, "param", None)
    if ctx is None or param is None or _FILE not in ctx.meta:
        return ""
    source = ctx.get_parameter_source(param.name)
    return f" (in {ctx.meta[_FILE]})" if source is not None and source.name == "DEFAULT_MAP" else ""


def _parse(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}). Check --config.") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise ConfigError(f"{file}: is not valid TOML ({error}).") from error


def _takes_several(option: Any) -> bool:
    return bool(getattr(option, "multiple", False)) or option.nargs == -1


def _beside(file: Path, value: Any) -> Any:
    """Resolve paths in the file relative to it."""
    if isinstance(value, list):
        return [_beside(file, v) for v in value]
    return str(file.parent / value) if isinstance(value, str) else value


def _fields(file: Path, table: str, values: dict[str, Any], options: set[str]) -> dict[str, Any]:
    """Check one table against the fields of its dataclass."""
    from lloki.cae.config import CAEConfig
    from lloki.fp.config import FPConfig

    known = {f.name: f.default for f in fields({"fp": FPConfig, "cae": CAEConfig}[table])}
    if table == "cae":  # the option is LLOKI-FP's, the autoencoder has a field of the same name
        options = options - {"n_neighbors"}
    checked = {}
    for key, value in values.items():
        name, place = key.replace("-", "_"), f"{file} [{table}]"
        if name in known and name in options:  # else it would be unclear which of the two counts
            raise ConfigError(f"{place}: {key} is an option; move it above the tables.")
        if name not in known:
            raise ConfigError(
                f"{place}: there is no field {key!r}. {did_you_mean(name, set(known) - options)}"
            )
        if not _same_type(value, known[name]):
            raise ConfigError(
                f"{place}: {key} must have the type of its default {known[name]!r}, got {value!r}."
            )
        checked[name] = value
    return checked


def _same_type(value: Any, default: Any) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(value, bool) and isinstance(default, bool)
    if isinstance(default, float):
        return isinstance(value, (int, float))
    return isinstance(value, list if isinstance(default, tuple) else type(default))
