"""What the stages' parameters have in common."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from lloki._names import did_you_mean
from lloki.errors import ConfigError


class Config:
    """Base of the frozen dataclasses of parameters: made of named fields, checked, kept with every result."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Make a configuration of named fields.

        Raises
        ------
        ConfigError
            If there is no such field, or a value is out of its range.
        """
        known = cls.__dataclass_fields__
        unknown = sorted(set(settings) - set(known))
        if unknown:
            raise ConfigError(
                f"{cls.__name__} has no field {unknown[0]!r}. {did_you_mean(unknown[0], known)}"
            )
        return cls(**settings)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        plain = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    def _at_least(self, **least: float) -> None:
        """Refuse values below these; ``None`` stands for no value."""
        for name, low in least.items():
            value = self._number(name)
            if value is not None and not value >= low:
                raise ConfigError(f"{name} must be at least {low}, got {value}")

    def _above_zero(self, *names: str) -> None:
        """Refuse values of 0 and below; ``None`` stands for no value."""
        for name in names:
            value = self._number(name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be above 0, got {value}")

    def _share(self, *names: str) -> None:
        """Refuse values outside [0, 1]."""
        for name in names:
            value = self._number(name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {value}")

    def _number(self, name: str) -> Any:
        """Value of a field that holds a number: a whole one if its default is, ``None`` only if that is."""
        value, default = getattr(self, name), self.__dataclass_fields__[name].default
        if value is None and default is None:
            return None
        whole = isinstance(default, int)
        if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
            raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number, got {value!r}")
        return value
