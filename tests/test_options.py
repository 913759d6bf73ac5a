"""Each dictionary of options has exactly the fields of its configuration, with their types."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import get_type_hints, is_typeddict

import pytest

import lloki

SOURCE = Path(lloki.__file__).parent


def pairs() -> list[tuple[str, str, str]]:
    """Module, options and configuration, of every class named ``...Options`` that is a `TypedDict`."""
    found = []
    for file in sorted(SOURCE.rglob("*.py")):
        names = [line.split("(")[0].split()[1] for line in file.read_text().splitlines() if _opens(line)]
        module = ".".join(["lloki", *file.relative_to(SOURCE).with_suffix("").parts])
        found += [(module, name, name.removesuffix("Options") + "Config") for name in names]
    return found


def _opens(line: str) -> bool:
    return line.startswith("class ") and "Options(TypedDict" in line


def test_the_pairs_are_found():
    assert {"FPOptions", "CAEOptions", "AlignOptions"} <= {options for _, options, _ in pairs()}


@pytest.mark.parametrize(("module", "options", "config"), pairs())
def test_options_are_the_fields_of_the_configuration(module, options, config):
    given, made = (getattr(import_module(module), name) for name in (options, config))
    assert is_typeddict(given)
    assert not given.__required_keys__
    fields = get_type_hints(made)
    assert get_type_hints(given) == {name: fields[name] for name in made.__dataclass_fields__}
