"""How inputs are read: one object, made from keywords or the command line and carried to the reader."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lloki._config import Config
from lloki.errors import ConfigError
from lloki.io.folders import require_limits
from lloki.io.sources import Slices, Source, plan_sources


@dataclass(frozen=True, kw_only=True)
class ReadOptions(Config):
    """How the inputs of one call are read; the lists hold one entry per input.

    Attributes
    ----------
    layer, allow_normalized, slice_key, label_key, technology, samples, panels, layers, n_neighbors
        See :func:`lloki.io.read_slices`.
    min_counts, max_control_rate
        See :func:`lloki.io.read_slices`.
    reference_layer
        Layer of the reference that holds its counts.
    orthologs
        Match a reference of the other of mouse and human by one-to-one orthologs.
    skip_bad
        Skip invalid slices.
    """

    layer: str | None = None
    allow_normalized: bool = False
    slice_key: str | None = None
    label_key: str | None = None
    technology: Mapping[str, str] | None = None
    samples: Sequence[str] | None = None
    panels: Sequence[str | None] | None = None
    layers: Sequence[str | None] | None = None
    n_neighbors: int = 40
    min_counts: int = 0
    max_control_rate: float | None = None
    reference_layer: str | None = None
    orthologs: bool = False
    skip_bad: bool = False

    def __post_init__(self) -> None:
        require_limits(self.min_counts, self.max_control_rate)

    def to_dict(self) -> dict[str, Any]:
        """All fields, as JSON can hold them."""
        return asdict(self)

    def sources(self, inputs: Slices) -> list[Source]:
        """Pair inputs with their names, layers and panels.

        Raises
        ------
        ConfigError
            If there is no input, a list has another length, names clash, or a technology is given for none of
            them.
        """
        sources = plan_sources(
            inputs, layer=self.layer, samples=self.samples, panels=self.panels, layers=self.layers
        )
        named = {source.sample for source in sources} | {source.given for source in sources}
        unknown = sorted(set(self.technology or ()) - named)
        if unknown:
            known = ", ".join(source.sample for source in sources)
            raise ConfigError(
                f"technology names {unknown[0]!r}, which is none of the samples. They are: {known}."
            )
        return sources
