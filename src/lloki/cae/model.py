"""A trained LLOKI-CAE: encode slices, save, load."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lloki._device import choose_device
from lloki._parallel import blocks, map_ordered
from lloki.cae.config import CAEConfig
from lloki.cae.network import ConditionalAutoencoder
from lloki.cae.scaling import Scaling
from lloki.errors import InputError, LlokiError, ModelError, UnknownTokenError

WEIGHTS, SETTINGS = "cae.safetensors", "cae.json"
CENTRE = "scaling.centre"


class CAEModel:
    """A trained autoencoder with all that encoding a slice needs.

    Parameters
    ----------
    network
        In evaluation mode, on the CPU.
    tokens
        Labels of the batch tokens, in the order of the network's token rows (sorted).
    scaling
        How inputs are centred and scaled.
    config
        The settings it was trained with.
    history
        Losses during training, one dict per look; see `train`.
    """

    def __init__(
        self,
        network: ConditionalAutoencoder,
        tokens: Sequence[str],
        scaling: Scaling,
        config: CAEConfig,
        history: list[dict[str, Any]],
    ) -> None:
        self.network, self.tokens, self.scaling = network, tuple(tokens), scaling
        self.config, self.history = config, history

    @property
    def dim(self) -> int:
        """Columns of the input embedding."""
        return int(self.scaling.centre.shape[1])

    def encode(
        self, x: NDArray[np.floating], token: str, *, chunk: int = 4096, threads: int | None = None
    ) -> NDArray[np.float32]:
        """Embed cells of one slice: one forward pass, no training.

        Parameters
        ----------
        x
            (n, d) embedding of the kind that the model was trained on.
        token
            The slice's batch token.
        chunk
            Cells at a time; bounds memory. Results differ by rounding only (below 1e-5).
        threads
            Chunks at a time, default all cores; no influence on the result.

        Returns
        -------
        z
            (n, latent) float32, all ≥ 0. A row depends on nothing but its cell and the token.

        Raises
        ------
        UnknownTokenError
            If the model was not trained with this token.
        InputError
            If ``x`` has another width than the training data, or values that are not finite.
        """
        index = self._index(token)
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError(
                f"the embedding has shape {x.shape}, the autoencoder takes (cells, {self.dim})",
                mend="Embed the slice with the embedder that the model was trained on.",
            )
        if not np.isfinite(x).all():
            raise InputError("the embedding holds NaN or infinite values", mend="Embed the slice again.")
        z = np.empty((len(x), self.config.latent), np.float32)
        device = choose_device(self.config.device)
        network = self.network.to(device)

        def part(rows: slice) -> None:
            with torch.inference_mode():
                scaled = torch.from_numpy(self.scaling.apply(x[rows], index)).to(device)
                z[rows] = (
                    network.encode(scaled, torch.full((len(scaled),), index, device=device)).cpu().numpy()
                )

        for _ in map_ordered(part, blocks(len(x), chunk), threads=threads if device.type == "cpu" else 1):
            pass
        return z

    def _index(self, token: str) -> int:
        if token not in self.tokens:
            raise UnknownTokenError(
                f"the model does not know the batch token {token!r}; it was trained with: "
                f"{', '.join(self.tokens)}. Name the slice's technology and panel as in training, "
                "or train with this slice among the others."
            )
        return self.tokens.index(token)

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and all else (JSON) into ``folder``, which is made if need be."""
        from safetensors.torch import save_file

        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.cpu().contiguous() for name, value in self.network.state_dict().items()}
        tensors[CENTRE] = torch.from_numpy(self.scaling.centre)
        save_file(tensors, folder / WEIGHTS)
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
        """Read what `save` wrote; `ModelError` if it is not there, damaged, or does not fit together."""
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder)
        try:
            settings = json.loads((folder / SETTINGS).read_text())
            tensors = load_file(folder / WEIGHTS)
            config = CAEConfig.from_dict(settings["config"])
            centre = tensors.pop(CENTRE).numpy()
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
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, LlokiError) as error:
            raise ModelError(
                f"{folder} does not hold a readable autoencoder ({type(error).__name__}: {error}). "
                "Give the folder that training saved, or train again."
            ) from error
