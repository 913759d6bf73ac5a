"""Which torch device to compute on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lloki._settings import settings
from lloki.errors import ConfigError

if TYPE_CHECKING:
    import torch


def choose_device(name: str | None = None) -> torch.device:
    """Find the torch device for ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"``, ``"mps"``.

    ``"auto"`` is CUDA where there is one, then MPS, then the CPU; ``None`` is ``lloki.settings.device``.

    Raises
    ------
    ConfigError
        If the device is not available.
    """
    import torch

    name = settings.device if name is None else name
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, here in there.items() if here))
    if not there.get(name.split(":")[0], False):
        known = ", ".join(kind for kind, here in there.items() if here)
        raise ConfigError(f"device {name!r} is not available here; choose one of: auto, {known}")
    return torch.device(name)
