"""Labels that training may see."""

from __future__ import annotations

from collections.abc import Sequence

from lloki._missing import stands_for_missing
from lloki.errors import ConfigError
from lloki.io.frames import as_text
from lloki.run.config import RunConfig
from lloki.run.slices import Message, SliceRecord

Labels = dict[str, list[str | None]]


def train_labels(config: RunConfig, trained: Sequence[SliceRecord]) -> Labels | None:
    """Take the labels of trained slices, as far as the configuration allows.

    Parameters
    ----------
    config
        Names the column and the slices.
    trained
        Slices to train on. Labels of slices that are only embedded are never taken.

    Returns
    -------
    labels
        Slice → label of each cell, ``None`` where it has none. ``None`` if the configuration names no column.

    Raises
    ------
    ConfigError
        If a named slice is not trained on or has no such labels, or no slice has any.
    """
    key, wanted = config.train_labels, config.train_label_slices
    if key is None:
        return None
    names = [r.name for r in trained]
    for name in wanted:
        if name not in names:
            raise ConfigError(
                f"labels of {name!r} are to be trained on (--train-labels-of), but the trained slices are: "
                f"{', '.join(names)}."
            )
    labels = {r.name: _labels(r, key) for r in trained if not wanted or r.name in wanted}
    empty = [name for name, own in labels.items() if not any(own)]
    if (wanted and empty) or len(empty) == len(labels):
        raise ConfigError(
            f"{', '.join(empty)}: no labels in obs[{key!r}], which --train-labels (train_labels=) names."
        )
    return {name: own for name, own in labels.items() if any(own)}


def trained_on(config: RunConfig, labels: Labels | None) -> list[Message]:
    """Report on which slices scores by ``label_key`` are no test, since training saw these labels."""
    if labels is None or config.train_labels != config.label_key:
        return []
    text = (
        f"training saw its labels in obs[{config.label_key!r}]: scores by them do not show how well labels "
        "carry over to it"
    )
    return [{"slice": name, "text": text} for name in labels]


def _labels(record: SliceRecord, key: str) -> list[str | None]:
    obs = record.obs
    if key not in obs:
        return []
    text = as_text(obs[key])
    return [None if missing else str(value) for value, missing in zip(text, stands_for_missing(text))]
