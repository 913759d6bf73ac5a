"""A trained LLOKI-CAE: encode slices, save, load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lloki._parallel import blocks, map_ordered
from lloki.cae.config import CAEConfig
from lloki.cae.network import ConditionalAutoencoder
from lloki.cae.scaling import Scaling
from lloki.errors import ConfigError, InputError, ModelError, UnknownTokenError

WEIGHTS, SETTINGS = "cae.safetensors", "cae.json"


def choose_device(name: str) -> torch.device:
    """The torch device for ``"auto"``, ``"cpu"``, ``"cuda"`` or ``"mps"``."""
    has = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return torch.device(next(kind for kind, there in has.items() if there))
    if name.split(":")[0] not in has or not has[name.split(":")[0]]:
        raise ConfigError(
            f"device {name!r} is not available here; there is: {', '.join(k for k, v in has.items() if v)}"
        )
    return torch.device(name)


class CAEModel:
    """A trained autoencoder with everything that encoding a new slice needs."""

    def __init__(
        self,
        network: ConditionalAutoencoder,
        tokens: Sequence[str],
        scaling: Scaling,
        config: CAEConfig,
        history: list[dict[str, Any]],
    ) -> None:
        self.network = network
        self.tokens = tuple(tokens)
        self.scaling, self.config, self.history = scaling, config, history

    @property
    def dim(self) -> int:
        """Columns of the input embedding."""
        return self.scaling.centre.shape[1]

    def encode(
        self, x: NDArray[np.floating], token: str, *, chunk: int = 4096, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Batch-free embedding of one slice: one forward pass."""
        index = self._index(token)
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError(f"the embedding has shape {x.shape}; the model takes (cells, {self.dim})")
        out = np.empty((len(x), self.config.latent), np.float32)

        def part(rows: slice) -> None:
            with torch.inference_mode():
                scaled = torch.from_numpy(self.scaling.apply(x[rows], index))
                z = self.network.encode(scaled, torch.full((len(scaled),), index))
                out[rows] = z.numpy()

        for _ in map_ordered(part, blocks(len(x), chunk), threads=threads):
            pass
        return out

    def _index(self, token: str) -> int:
        if token not in self.tokens:
            raise UnknownTokenError(
                f"the model has no batch token {token!r}; it was trained with: {', '.join(self.tokens)}. "
                "Train again with a slice of this technology and panel among the slices."
            )
        return self.tokens.index(token)

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and settings (JSON) into ``folder``."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = dict(self.network.state_dict())
        tensors["scaling.centre"] = torch.from_numpy(self.scaling.centre)
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / WEIGHTS)
        settings = {
            "tokens": list(self.tokens),
            "scale": self.scaling.scale,
            "distance": self.scaling.distance,
            "config": self.config.to_dict(),
            "history": self.history,
        }
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1))

    @classmethod
    def load(cls, folder: str | Path) -> CAEModel:
        """Read what `save` wrote."""
        from safetensors.torch import load_file

        folder = Path(folder)
        try:
            settings = json.loads((folder / SETTINGS).read_text())
            tensors = load_file(folder / WEIGHTS)
        except (OSError, ValueError) as error:
            raise ModelError(f"{folder} does not hold a readable autoencoder: {error}") from error
        config = CAEConfig.from_dict(settings["config"])
        centre = tensors.pop("scaling.centre").numpy()
        network = ConditionalAutoencoder(
            centre.shape[1],
            len(settings["tokens"]),
            latent=config.latent,
            hidden=config.hidden,
            token_dim=config.token_dim,
        )
        network.load_state_dict(tensors)
        scaling = Scaling(centre, settings["scale"], settings["distance"])
        return cls(network.eval(), settings["tokens"], scaling, config, settings["history"])
