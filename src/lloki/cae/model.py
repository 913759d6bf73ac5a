"""A trained LLOKI-CAE: encode slices, save, load."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray

from lloki._device import choose_device
from lloki._parallel import blocks, map_ordered
from lloki._sums import require_whole
from lloki.cae.condition import Conditions
from lloki.cae.config import CAEConfig
from lloki.cae.correction import UNLIKE, Correction
from lloki.cae.landmarks import Landmarks
from lloki.cae.mixture import Mixture
from lloki.cae.network import ConditionalAutoencoder
from lloki.cae.scaling import Scaling
from lloki.errors import InputError, LlokiError, ModelError, UnknownTokenError

WEIGHTS, SETTINGS = "cae.safetensors", "cae.json"
CENTER, LANDMARKS, MIXTURE = "scaling.center", "landmarks.x", "mixture."
PLACES, SHIFTS = "correction.landmarks.{}", "correction.shifts.{}"

Output = Literal["latent", "inputs"]


class CAEModel:
    """A trained autoencoder with all that encoding a slice needs.

    Parameters
    ----------
    network
        In evaluation mode, on the CPU.
    conditions
        Names of the tokens and slices that it was trained with.
    scaling
        How inputs are centered and scaled.
    config
        The settings it was trained with.
    history
        Losses and monitors during training, one dict per look; see `train`.
    landmarks
        Some of the trained cells, for `lloki.cae.fit_token`.
    fitted
        Token → history of its fit, for tokens that `lloki.cae.fit_token` added.
    output
        What `encode` gives: the network's latent space, or its scaled inputs; see `CAEConfig.output`.
    device
        Where it encodes, see `lloki.cae.train`; may be set. It is not saved.
    """

    def __init__(
        self,
        network: ConditionalAutoencoder,
        conditions: Conditions,
        scaling: Scaling,
        config: CAEConfig,
        history: list[dict[str, Any]],
        landmarks: Landmarks,
        fitted: Mapping[str, list[dict[str, Any]]] | None = None,
        *,
        output: Output = "latent",
        device: str | None = None,
    ) -> None:
        self.network, self.conditions, self.scaling = network, conditions, scaling
        self.config, self.history, self.landmarks = config, history, landmarks
        self.fitted, self.output, self.device = dict(fitted or {}), output, device

    @property
    def tokens(self) -> tuple[str, ...]:
        """Labels of the batch tokens; sorted, but for those that were fitted later."""
        return self.conditions.tokens

    @property
    def dim(self) -> int:
        """Columns of the input embedding."""
        return len(self.scaling.center)

    def giving(self, output: Output) -> CAEModel:
        """Return the same model, of which `encode` gives ``output``."""
        other = copy.copy(self)
        other.output = output
        return other

    def encode(
        self,
        x: NDArray[np.floating],
        token: str,
        *,
        slice_name: str | None = None,
        chunk: int = 4096,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        """Embed cells of one slice: one forward pass, no training.

        Parameters
        ----------
        x
            (n, d) embedding of the kind that the model was trained on.
        token
            The slice's batch token.
        slice_name
            Its name, where the model was trained with it and with `CAEConfig.condition` other than
            ``"token"``. Without it, or for a new slice, the token's part stands for the slice.
        chunk
            Cells at a time; bounds memory. Results differ by rounding only (below 1e-5).
        threads
            Chunks at a time, default all cores; no influence on the result.

        Returns
        -------
        z
            (n, latent) float32, all ≥ 0; (n, d) where ``output`` is ``"inputs"``. A row depends on nothing
            but its cell and the token.

        Raises
        ------
        UnknownTokenError
            If the model was not trained with this token.
        InputError
            If ``x`` has another width than the training data, or values that are not finite.
        """
        index, x = self._index(token), self._checked(x)
        if self.output == "inputs":
            return self.scaling.apply(x, index)
        return self._latent(
            lambda rows: self.scaling.apply(x[rows], index), len(x), token, slice_name, chunk, threads
        )

    def encode_both(
        self, x: NDArray[np.floating], token: str, *, slice_name: str | None = None
    ) -> dict[Output, NDArray[np.float32]]:
        """Embed cells as `encode` does, in the latent space and as inputs, which it is made of."""
        inputs = self.giving("inputs").encode(x, token)
        latent = self._latent(lambda rows: inputs[rows], len(inputs), token, slice_name)
        return {"latent": latent, "inputs": inputs}

    @property
    def partnered(self) -> dict[str, float]:
        """Of each batch token, how many of its cells have partners in others (`Correction.partnered`)."""
        return dict(zip(self.tokens, self.scaling.correction.partnered))

    @property
    def unlike(self) -> list[str]:
        """Tokens of which many cells have no partner in others, those with the fewest partners first."""
        shares = self.partnered
        return sorted((t for t in shares if shares[t] < UNLIKE), key=lambda t: (shares[t], t))

    @property
    def caution(self) -> str:
        """What a user should know where tokens are `unlike`, or ``""``."""
        if not self.unlike:
            return ""
        token = self.unlike[0]
        text = (
            f"many cells of {token} have no counterpart in other batches ({self.partnered[token]:.0%} of "
            "those that would if all batches held the same kinds of cells), and the autoencoder may misplace "
            "such cells"
        )
        if self.output == "latent":
            return text
        return (
            f"{text}: the joint embedding is its inputs, without offsets and shifts between batches. The "
            "setting output = 'latent' of LLOKI-CAE keeps the latent space"
        )

    def _checked(self, x: NDArray[np.floating]) -> NDArray[np.float32]:
        x = np.asarray(x, dtype=np.float32)
        if x.ndim != 2 or x.shape[1] != self.dim:
            raise InputError(
                f"the embedding has shape {x.shape}, the autoencoder takes (cells, {self.dim})",
                hint="Embed the slice with the embedder that the model was trained on.",
            )
        if not np.isfinite(x).all():
            raise InputError("the embedding holds NaN or infinite values", hint="Embed the slice again.")
        return x

    def _latent(
        self,
        inputs: Callable[[slice], NDArray[np.float32]],
        n: int,
        token: str,
        slice_name: str | None,
        chunk: int = 4096,
        threads: int | None = None,
    ) -> NDArray[np.float32]:
        """Send n cells through the network, some at a time."""
        z = np.empty((n, self.config.latent), np.float32)
        device = choose_device(self.device)
        vector = self.conditions.vector(self.network, token, slice_name).to(device)
        network = self.network.to(device)

        def part(rows: slice) -> None:
            with torch.inference_mode():
                scaled = torch.from_numpy(inputs(rows)).to(device)
                z[rows] = network.encode(scaled, vector.expand(len(scaled), -1)).cpu().numpy()

        for _ in map_ordered(part, blocks(n, chunk), threads=threads if device.type == "cpu" else 1):
            pass
        return z

    def _index(self, token: str) -> int:
        if token not in self.tokens:
            raise UnknownTokenError(
                f"the model does not know the batch token {token!r}; it was trained with: "
                f"{', '.join(self.tokens)}. Name the slice's technology and panel as in training, "
                "fit the new token to this model, or train with this slice among the others."
            )
        return self.tokens.index(token)

    def save(self, folder: str | Path) -> None:
        """Write weights (safetensors) and all else (JSON) into ``folder``, which is made if need be."""
        from safetensors.torch import save_file

        folder = Path(folder).expanduser()
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {name: value.cpu().contiguous() for name, value in self.network.state_dict().items()}
        tensors |= {f"{MIXTURE}{k}": torch.from_numpy(v) for k, v in vars(self.scaling.mixture).items()}
        correction = self.scaling.correction
        for t, (places, shifts) in enumerate(zip(correction.landmarks, correction.shifts)):
            tensors |= {
                PLACES.format(t): torch.from_numpy(places),
                SHIFTS.format(t): torch.from_numpy(shifts),
            }
        tensors |= {CENTER: torch.from_numpy(self.scaling.center), LANDMARKS: self.landmarks.x.contiguous()}
        save_file(tensors, folder / WEIGHTS)
        settings = {
            "parts": list(self.conditions.parts),
            "tokens": list(self.tokens),
            "slices": dict(self.conditions.slices),
            "landmarks": self.landmarks.sizes,
            "scale": self.scaling.scale,
            "distance": self.scaling.distance,
            "config": self.config.to_dict(),
            "history": self.history,
            "fitted": self.fitted,
            "output": self.output,
            "partnered": [None if math.isnan(share) else share for share in correction.partnered],
        }
        (folder / SETTINGS).write_text(json.dumps(settings, indent=1))

    @classmethod
    def load(cls, folder: str | Path, *, device: str | None = None) -> CAEModel:
        """Read what `save` wrote, to encode on ``device``.

        Raises
        ------
        ModelError
            If it is not there, damaged, or does not fit together.
        """
        from safetensors import SafetensorError
        from safetensors.torch import load_file

        folder = Path(folder).expanduser()
        require_whole(folder)
        try:
            settings = json.loads((folder / SETTINGS).read_text())
            tensors = load_file(folder / WEIGHTS)
            config = CAEConfig.from_dict(settings["config"])
            conditions = Conditions(
                tuple(settings["parts"]), tuple(settings["tokens"]), dict(settings["slices"])
            )
            center = tensors.pop(CENTER).numpy()
            parts = [name for name in tensors if name.startswith(MIXTURE)]
            mixture = Mixture(**{n.removeprefix(MIXTURE): tensors.pop(n).numpy() for n in parts})
            places, shifts = (
                tuple(tensors.pop(name.format(t)).numpy() for t in range(len(conditions.tokens)))
                for name in (PLACES, SHIFTS)
            )
            partnered = tuple(math.nan if share is None else float(share) for share in settings["partnered"])
            correction = Correction(places, shifts, partnered)
            landmarks = Landmarks(tensors.pop(LANDMARKS), settings["landmarks"])
            network = network_for(config, len(center), conditions)
            network.load_state_dict(tensors)
            scaling = Scaling(mixture, center, correction, settings["scale"], settings["distance"])
            return cls(
                network.eval(),
                conditions,
                scaling,
                config,
                settings["history"],
                landmarks,
                settings["fitted"],
                output=_output(settings["output"]),
                device=device,
            )
        except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError, LlokiError) as error:
            raise ModelError(
                f"{folder} does not hold a readable autoencoder ({type(error).__name__}: {error}). "
                "Give the folder that training saved, or train again."
            ) from error


def _output(value: Any) -> Output:
    if value not in get_args(Output):
        raise ValueError(f"output is {value!r}")
    return "inputs" if value == "inputs" else "latent"


def network_for(config: CAEConfig, dim: int, conditions: Conditions) -> ConditionalAutoencoder:
    """Make the network of these settings, weights as drawn."""
    return ConditionalAutoencoder(
        dim,
        conditions.sizes(),
        latent=config.latent,
        hidden=config.hidden,
        token_dim=config.token_dim,
    )
