"""Which torch device to compute on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lloki._settings import settings
from lloki.errors import ConfigError

if TYPE_CHECKING:
    import torch


def choose_device(name: str | None = None) -> torch.device:
    """Find the torch device for ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    ``"auto"`` is CUDA where there is one, then MPS, then the CPU. ``None`` is
    ``lloki.settings.device`` of this process; a worker process must be given the name.

    Raises
    ------
    ConfigError
        If it is not available.
    """
    import torch

    name = settings.device if name is None else name
    kind, _, index = name.partition(":")
    available = {"cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available()), "cpu": 1}
    if name == "auto":
        return torch.device(next(kind for kind, count in available.items() if count))
    if not (index or "0").isdigit() or int(index or 0) >= available.get(kind, 0):
        known = ", ".join(kind for kind, count in available.items() if count)
        raise ConfigError(f"device {name!r} is not available here; choose one of: auto, {known}")
    return torch.device(name)
