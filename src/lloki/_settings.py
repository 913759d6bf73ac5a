"""What holds for every call in this process: ``lloki.settings``."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass
class Settings:
    """Defaults of a session; they change how results are computed and shown, never the results.

    Attributes
    ----------
    threads
        Threads for the stages; ``None`` takes ``LLOKI_THREADS``, else the cores that this process may use.
    device
        Torch device of calls that are not given one: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"mps"``.
    progress
        Whether calls that are not told otherwise show progress bars.
    verbosity
        Level of the package's log: ``"debug"``, ``"info"``, ``"warning"`` or ``"error"``.
    """

    threads: int | None = None
    device: str = "auto"
    progress: bool = False
    verbosity: str = "warning"


settings = Settings()
