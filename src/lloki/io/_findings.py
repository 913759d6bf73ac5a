"""What is found while one input is read: what was corrected, and what cannot be."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from typing import TypeVar

from lloki.errors import InputError, LlokiError, LlokiWarning

T = TypeVar("T")


class Findings:
    """Collects messages; raises errors at once when strict, collects them too when not.

    Reading and checking are the same code: :func:`lloki.io.read_slices` reads strictly,
    :func:`lloki.io.check_slices` reads on past an error to find the others.

    Parameters
    ----------
    where
        File, or file and section, that the findings are about.
    strict
        Raise the first error.
    """

    def __init__(self, where: str, *, strict: bool) -> None:
        self.where, self.strict = where, strict
        self.messages: list[str] = []
        self.errors: list[str] = []
        self.old: frozenset[str] = frozenset()

    def recall(self, messages: Iterable[str]) -> None:
        """Take over the messages from when the same slice was read before; they are not issued again."""
        self.messages = list(map(str, messages))
        self.old = frozenset(self.messages)

    def corrected(self, message: str) -> None:
        """Keep a message, a sentence without a full stop, under the name of the file."""
        if not any(old.endswith(f": {message}") for old in self.old):
            self.messages.append(f"{self.where}: {message}")

    @property
    def new(self) -> list[str]:
        """Messages that were not issued before."""
        return [message for message in self.messages if message not in self.old]

    def attempt(self, step: Callable[[], T]) -> T | None:
        """Return what ``step`` returns; ``None`` where it failed and failures are being collected."""
        try:
            return step()
        except LlokiError as error:
            if self.strict:
                raise
            self.errors.append(str(error))
            return None

    def refuse(self, what: str, *, slot: str, hint: str) -> None:
        """Raise or collect one error, where reading can go on to look for others."""

        def step() -> None:
            raise InputError(what, where=self.where, slot=slot, hint=hint)

        self.attempt(step)

    def inside(self, section: str) -> Findings:
        """Start the findings of one section of this file with those of the file."""
        inner = Findings(f"{self.where} [{section}]" if section else self.where, strict=self.strict)
        inner.messages, inner.errors, inner.old = list(self.messages), list(self.errors), self.old
        return inner


def warn_once_each(messages: Iterable[str], *, stacklevel: int) -> None:
    """Issue each different message as one ``LlokiWarning``; sections share the messages of their file."""
    for message in dict.fromkeys(messages):
        warnings.warn(message, LlokiWarning, stacklevel=stacklevel + 1)


def some(names: Iterable[object], most: int = 5) -> str:
    """List the first few of some names, for a message: ``a, b, c and 7 more``."""
    listed = [str(name) for name in names]
    shown = ", ".join(listed[:most]) or "none"
    return shown if len(listed) <= most else f"{shown} and {len(listed) - most} more"


def number(count: int, noun: str) -> str:
    """``1 cell``, ``1,234 cells``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
