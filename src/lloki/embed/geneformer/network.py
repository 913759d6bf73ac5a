"""The network: ``transformers``' Bert with a checkpoint's weights, down to the layer that is embedded."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import TYPE_CHECKING

import torch
from torch import nn

from lloki.embed._transformer import PRECISIONS, BatchRunner, precision_on
from lloki.embed.geneformer.files import Checkpoint, few
from lloki.errors import ConfigError, MissingExtraError, ModelError

if TYPE_CHECKING:
    from transformers import BertModel

# Tokens of a batch: on the CPU one thread's, elsewhere enough to keep the device busy.
BUDGET = {"cpu": 2_048, "mps": 16_384, "cuda": 65_536}


def require_transformers() -> None:
    """Say how to install ``transformers`` if it is absent.

    Raises
    ------
    MissingExtraError
        With the pip command.
    """
    if find_spec("transformers") is None:
        raise MissingExtraError("transformers", "geneformer", "The embedder geneformer")


class Network(nn.Module):
    """Cell vectors from token ids.

    Parameters
    ----------
    checkpoint
        Sizes and weights.
    layer
        Layer to embed: 0 the last, -1 the one before. Later layers are not built.
    pool
        ``"mean"`` over the gene tokens, or ``"cls"`` for the first token's vector.

    Raises
    ------
    ConfigError
        If there is no such layer.
    ModelError
        If weights are missing, unexpected or of another shape than the sizes say; says which.
    """

    def __init__(self, checkpoint: Checkpoint, *, layer: int = -1, pool: str = "mean") -> None:
        super().__init__()
        weights, depth = checkpoint.weights, checkpoint.sizes["num_hidden_layers"]
        if not -depth <= layer <= 0:
            raise ConfigError(f"layer must be between {-depth} (the input) and 0 (the last), got {layer}")
        with torch.device("meta"):
            expected = _bert(checkpoint, depth).state_dict()
        _check(checkpoint, {name: tuple(tensor.shape) for name, tensor in expected.items()})
        self.bert = _bert(checkpoint, depth + layer)
        self.bert.load_state_dict({name: weights[name] for name in self.bert.state_dict()}, assign=True)
        self.pool, self.framed = pool, checkpoint.vocabulary.special
        self.eval()

    def forward(self, tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        """Give (b, d) float32 cell vectors of (b, t) token ids, of which the first ``lengths`` (b,) count."""
        place = torch.arange(tokens.shape[1], device=tokens.device)
        inside = place < lengths[:, None]
        hidden = self.bert(input_ids=tokens, attention_mask=inside.long()).last_hidden_state.float()
        if self.pool == "cls":
            return hidden[:, 0]
        if self.framed:
            inside = (place > 0) & (place < lengths[:, None] - 1)
        weight = inside[..., None].float()
        return (hidden * weight).sum(1) / weight.sum(1)


def make_runner(network: Network, dim: int, *, device: torch.device, precision: str) -> BatchRunner:
    """Put a network on a device; ``precision`` is ``"auto"`` or one of `PRECISIONS`, by autocast."""
    network = network.to(device)
    dtype = PRECISIONS[precision_on(device, precision)]

    def model(tokens: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        with torch.autocast(device.type, dtype=dtype, enabled=dtype != torch.float32):
            vectors: torch.Tensor = network(tokens, lengths)
        return vectors

    return BatchRunner(model, dim=dim, device=device, budget=BUDGET[device.type])


def _bert(checkpoint: Checkpoint, layers: int) -> BertModel:
    from transformers import BertConfig, BertModel

    stored = ("dtype", "torch_dtype")  # the weights are float32 here, whatever they were stored as
    settings = {name: value for name, value in checkpoint.sizes.items() if name not in stored}
    settings |= {
        "num_hidden_layers": layers,
        "attn_implementation": "sdpa",
        "output_hidden_states": False,
        "output_attentions": False,
    }
    try:
        return BertModel(BertConfig(**settings), add_pooling_layer=False)
    except Exception as error:  # transformers checks sizes with errors of its own, different by version
        raise ModelError(f"{checkpoint.folder}/config.json: describes no Bert model: {error}") from error


def _check(checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]]) -> None:
    shapes = {name: tuple(tensor.shape) for name, tensor in checkpoint.weights.items()}
    problems = {
        "missing": expected.keys() - shapes.keys(),
        "unexpected": shapes.keys() - expected.keys(),
        "of the wrong shape": {
            f"{name} {shapes[name]} instead of {shape}"
            for name, shape in expected.items()
            if shapes.get(name, shape) != shape
        },
    }
    problem = [f"{what}: {few(sorted(names))}" for what, names in problems.items() if names]
    if problem:
        raise ModelError(f"{checkpoint.folder}: the weights do not fit config.json. {'; '.join(problem)}")
