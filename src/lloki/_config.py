"""Base of the configurations of the stages."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from numbers import Integral, Real
from typing import Any, ClassVar, Self

from lloki._names import did_you_mean
from lloki.errors import ConfigError

MOST_SEED = 2**32 - 1  # that NumPy's and UMAP's generators take


class Config:
    """Base of the frozen dataclasses of parameters: checked when they are made, kept with every result."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @classmethod
    def from_dict(cls, settings: Mapping[str, Any]) -> Self:
        """Make a configuration from a mapping of its fields.

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
        """Return all fields as values that JSON can hold."""
        plain = asdict(self)
        return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}

    def _at_least(self, **least: float) -> None:
        """Check that fields are at least these values, or ``None``."""
        for name, low in least.items():
            value = self._number(name)
            if value is not None and not value >= low:
                raise ConfigError(f"{name} must be at least {low}, got {value}")

    def _above_zero(self, *names: str) -> None:
        """Check that fields are above 0, or ``None``."""
        for name in names:
            value = self._number(name)
            if value is not None and not value > 0:
                raise ConfigError(f"{name} must be above 0, got {value}")

    def _share(self, *names: str) -> None:
        """Check that fields lie between 0 and 1, or are ``None``."""
        for name in names:
            value = self._number(name)
            if value is not None and not 0 <= value <= 1:
                raise ConfigError(f"{name} must lie between 0 and 1, got {value}")

    def _number(self, name: str) -> Any:
        """Return a field's number: an integer if its default is one, ``None`` only if its default is."""
        value, default = getattr(self, name), self.__dataclass_fields__[name].default
        if value is None and default is None:
            return None
        whole = isinstance(default, int)
        if isinstance(value, bool) or not isinstance(value, Integral if whole else Real):
            raise ConfigError(f"{name} must be a {'whole ' if whole else ''}number, got {value!r}")
        return value
