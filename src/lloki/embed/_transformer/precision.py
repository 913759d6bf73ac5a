"""Precision of a network's products."""

from __future__ import annotations

import torch

from lloki.errors import ConfigError

PRECISIONS = {"float32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def check_precision(name: str) -> None:
    """Accept ``"auto"`` and the names in `PRECISIONS`; ConfigError for all others."""
    if name not in ("auto", *PRECISIONS):
        raise ConfigError(f"precision must be one of auto, {', '.join(PRECISIONS)}; got {name!r}")


def precision_on(device: torch.device, name: str) -> str:
    """Resolve ``"auto"``: fp16 on CUDA, as in the public packages, and float32 elsewhere."""
    if name != "auto":
        return name
    return "fp16" if device.type == "cuda" else "float32"
