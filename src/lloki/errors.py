"""One small tree of errors. Every message says what is wrong, where, and what to do next.

``LlokiError`` catches them all; the command line prints the message alone and exits with status 1.
"""

from __future__ import annotations

from typing import Any

NO_DOCSTRINGS = "anndata cannot do without docstrings: unset PYTHONOPTIMIZE=2, or use -O in place of -OO."


class LlokiError(Exception):
    """Base of everything lloki raises on purpose."""


class InputError(LlokiError, ValueError):
    """Something is wrong with data the user gave.

    Parameters
    ----------
    what
        What is wrong, as a clause without a full stop.
    where
        The file or slice it is wrong in.
    slot
        The part of the file: ``X``, ``layers['counts']``, ``obsm['spatial']``, ``obs['cell_type']``…
    hint
        What to do next, as a sentence.
    """

    def __init__(self, what: str, *, where: str = "", slot: str = "", hint: str = "") -> None:
        self.what, self.where, self.slot, self.hint = what, where, slot, hint
        place = " ".join(p for p in (where, slot) if p)
        text = f"{place}: {what}" if place else what
        super().__init__(f"{text}. {hint}" if hint else f"{text}.")

    def __reduce__(self) -> tuple[object, ...]:  # so that it survives the way back from a worker process
        return (_rebuild, (type(self), self.what, self.where, self.slot, self.hint))


def _rebuild(cls: type[InputError], what: str, where: str, slot: str, hint: str) -> InputError:
    return cls(what, where=where, slot=slot, hint=hint)


class GeneError(InputError):
    """Gene names do not fit: identifiers, species, or no overlap."""


class VocabularyError(InputError):
    """Sources of labels name cell types differently, and no map says which names mean the same.

    Attributes
    ----------
    suggested
        Data frame of :func:`lloki.analysis.suggest_label_map`, to edit and to give as ``label_map``.
    """

    suggested: Any = None


class ConfigError(LlokiError, ValueError):
    """A parameter is out of its range, or two parameters contradict each other."""


class ModelError(LlokiError, ValueError):
    """A saved model cannot be read, or cannot be used on these data."""


class UnknownTokenError(ModelError):
    """A slice's technology x panel was not among those the model was trained on."""


class DownloadError(LlokiError, OSError):
    """Published weights cannot be brought here: no network, no such file, or not the file it should be."""


class OutputError(LlokiError, OSError):
    """Results cannot be written where the user asked for them."""


class RunError(LlokiError, RuntimeError):
    """A unit of a run failed, or its workers kept dying."""


class MissingExtraError(LlokiError, ImportError):
    """An optional dependency is absent; the message holds the pip command that brings it."""

    def __init__(self, package: str, extra: str, purpose: str) -> None:
        self._parts = (package, extra, purpose)
        super().__init__(
            f"{purpose} needs the package {package!r}. Install it with: pip install 'lloki[{extra}]'"
        )

    def __reduce__(self) -> tuple[object, ...]:  # as for InputError
        return (type(self), self._parts)


class LlokiWarning(UserWarning):
    """A corrected or doubtful input: warned of, kept in the result, shown in the report."""
