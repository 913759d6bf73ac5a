"""scGPT as an embedder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from scipy import sparse
from torch.nn import functional as F

from lloki._progress import Advance
from lloki.embed._transformer import cell_keys, checked_counts
from lloki.embed.base import SliceSummary
from lloki.embed.scgpt.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from lloki.embed.scgpt.engine import Engine
from lloki.embed.scgpt.inputs import checked_tokens
from lloki.embed.scgpt.tokens import Tokens
from lloki.errors import ConfigError, LlokiWarning, ModelError
from lloki.genes import ORTHOLOG_VERSION, PanelCoverage, VocabularyMatch, match_vocabulary
from lloki.genes.vocabulary import LEAST

MAX_TOKENS = 1200
SETTINGS = "lloki.json"

Arrays = TypeVar("Arrays", NDArray[Any], torch.Tensor)


class ScGPT:
    """A pretrained scGPT model: one vector a cell, zero-shot.

    Parameters
    ----------
    model
        Checkpoint folder: ``args.json``, ``vocab.json``, ``best_model.pt`` or ``model.safetensors``.
    seed
        Ignored: nothing is fitted. `embed` takes the seed of its draws.
    device
        ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``; ``None`` is ``lloki.settings.device``.
    precision
        ``"float32"``, ``"bf16"``, ``"fp16"``; ``"auto"`` is fp16 on CUDA and float32 elsewhere. In half
        precision the products are computed in it, sums over layers and norms in float32.
    max_tokens
        Most tokens of a cell, ``<cls>`` among them. 1,200 is what the public package takes.

    Attributes
    ----------
    checkpoint
        What was read: sizes, arguments, vocabulary, weights.
    engine
        Where it runs; ``engine.token_budget`` bounds the memory of a batch.

    Raises
    ------
    ConfigError
        If no model is given, or an option is none of the above.
    ModelError
        If the folder is not a whole checkpoint; see :func:`~lloki.embed.scgpt.read_checkpoint`.

    Notes
    -----
    Memory is that of the weights, twice where they are copied to another device or to half precision, and of
    the batches. Time grows with the number of tokens, and for one with layers x (4 dim² + 2 dim·hidden +
    2 dim x tokens of its cell) multiplications.
    """

    name = "scgpt"
    joint = False
    uses_expression = True

    def __init__(
        self,
        *,
        model: str | Path | None = None,
        seed: int = 0,
        device: str | None = None,
        precision: str = "auto",
        max_tokens: int = MAX_TOKENS,
    ) -> None:
        if model is None:
            raise ConfigError(
                "the embedder scgpt needs pretrained weights. Give the checkpoint folder with --model DIR "
                "(model=)."
            )
        if max_tokens < 2:
            raise ConfigError(f"max_tokens must be 2 or more, got {max_tokens}")
        self.checkpoint: Checkpoint = read_checkpoint(model)
        self.engine = Engine(self.checkpoint, device=device, precision=precision)
        self.max_tokens = max_tokens

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        precision: str = "auto",
        max_tokens: int = MAX_TOKENS,
    ) -> ScGPT:
        """Read a checkpoint folder; options and errors as of the class."""
        return cls(model=path, device=device, precision=precision, max_tokens=max_tokens)

    @property
    def dim(self) -> int:
        return self.checkpoint.sizes.dim

    @property
    def device(self) -> str | None:
        """Where it computes; may be set."""
        return self.engine.device

    @device.setter
    def device(self, name: str | None) -> None:
        self.engine.device = name

    @property
    def rows_per_piece(self) -> int:
        """Cells after which a run keeps what is done: about a minute of a large model on a CPU."""
        return 512 if self.engine.place().type == "cpu" else 8_192

    @cached_property
    def _weights(self) -> str:
        return self.checkpoint.digest()

    @property
    def config(self) -> dict[str, Any]:
        """What results depend on besides the input; the same wherever the checkpoint lies."""
        return {
            "weights": self._weights,
            "precision": self.engine.precision_used(),
            "n_bins": self.checkpoint.n_bins,
            "max_tokens": self.max_tokens,
            "orthologs": ORTHOLOG_VERSION,
        }

    @property
    def flop_per_token(self) -> float:
        """Floating-point operations for a token, without those between tokens."""
        sizes = self.checkpoint.sizes
        return 2.0 * sizes.layers * (4 * sizes.dim**2 + 2 * sizes.dim * sizes.hidden)

    def match(self, genes: Sequence[str], *, where: str = "", min_genes: int = LEAST) -> VocabularyMatch:
        """Find the genes of a panel in the vocabulary; see :func:`~lloki.genes.match_vocabulary`."""
        return match_vocabulary(genes, self.checkpoint.vocab, where=where, min_genes=min_genes)

    def coverage(self, genes: Sequence[str]) -> PanelCoverage:
        """Genes that are in the vocabulary, by any of their names or by ortholog, and those that are not."""
        return self.match(genes, min_genes=0).coverage()

    def summarize(self, expression: sparse.csr_matrix, genes: Sequence[str]) -> SliceSummary:
        """Give an empty summary: a pretrained model learns nothing from a slice."""
        return SliceSummary(tuple(genes))

    def fit(self, slices: Mapping[str, SliceSummary], reference: SliceSummary) -> ScGPT:
        """Give the model itself."""
        return self

    def encode_tokens(self, gene_ids: Arrays, values: Arrays, padding_mask: Arrays) -> Arrays:
        """Run the network on tokens that were made elsewhere.

        Parameters
        ----------
        gene_ids
            (b, t) ids of the vocabulary, ``<cls>`` first.
        values
            (b, t) binned values; any number is taken.
        padding_mask
            (b, t) True at padding.

        Returns
        -------
        cls
            (b, d) float32 vectors at the first token, not normalized; numpy or torch, as ``gene_ids``.

        Raises
        ------
        InputError
            If shapes differ, an id is not in the vocabulary, a value is not finite, or a row starts with
            padding.
        """
        tokens = self.checkpoint.sizes.tokens
        *batch, lengths = checked_tokens(gene_ids, values, padding_mask, tokens)
        network = self.engine.network()

        def prepare(rows: NDArray[np.int64]) -> tuple[torch.Tensor, ...]:
            return tuple(a[rows, : lengths[rows].max()] for a in batch)

        def encode(ids: torch.Tensor, x: torch.Tensor, keep: torch.Tensor) -> torch.Tensor:
            cls: torch.Tensor = network(network.encoder(ids) + network.value_encoder(x), keep)
            return cls

        vectors = self.engine.run(encode, lengths, prepare)
        return torch.from_numpy(vectors) if isinstance(gene_ids, torch.Tensor) else vectors

    def embed(
        self,
        counts: sparse.csr_matrix | ArrayLike,
        genes: Sequence[str],
        *,
        cell_ids: Sequence[str],
        seed: int = 0,
        state: SliceSummary | None = None,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[np.float32]:
        """Embed cells: (n, g) → (n, d) float32, every row of length 1.

        A cell's tokens are ``<cls>`` and its non-zero genes that the vocabulary has, each with the bin of its
        value among the cell's own (:func:`~lloki.embed.scgpt.bin_values`). Ties, and which genes of the last
        bin are kept of a cell that has more than ``max_tokens``, are drawn from seed and cell id. So a row
        depends on its cell, its id and the seed alone, up to rounding (1e-6 in float32).

        Parameters
        ----------
        counts
            (n, g) counts or log-normalized expression; a cell's values are compared with one another only.
        genes
            (g,) names; found in the vocabulary as :func:`~lloki.genes.match_vocabulary` does.
        cell_ids
            (n,) names of the cells.
        seed
            Random seed.
        state
            Ignored: the model needs nothing of the slice.
        threads
            Batches at a time on the CPU, threads that prepare them elsewhere; no influence on the result.
        advance
            Called with the number of cells done.

        Returns
        -------
        rows
            A cell without any gene of the vocabulary gets the vector of ``<cls>`` alone, the same for all
            such cells; a LlokiWarning says how many there are.

        Raises
        ------
        GeneError
            If fewer than 20 genes or 5 % of them are in the vocabulary.
        InputError
            If a value is negative or not finite, or lengths do not agree.
        """
        x = checked_counts(counts, genes, cell_ids)
        known = self.checkpoint
        names = self.match(genes).names
        ids = np.array([known.vocab[name] if name else -1 for name in names], dtype=np.int64)
        keys = cell_keys(seed, cell_ids)
        tokens = Tokens(x, ids, keys, n_bins=known.n_bins, max_tokens=self.max_tokens)
        network = self.engine.network()
        gene_table = network.encoder.table([known.cls_id, *tokens.ids])
        value_table = network.value_encoder.table([*range(known.n_bins), known.pad_value])

        def encode(g: torch.Tensor, v: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
            return F.normalize(network(F.embedding(g, gene_table) + F.embedding(v, value_table), keep))

        bare = int((tokens.lengths == 1).sum())
        if bare:
            warnings.warn(
                f"{bare} of {len(keys)} cells have no gene that the model knows; they all get the vector of "
                "a cell without genes",
                LlokiWarning,
                stacklevel=2,
            )
        return self.engine.run(encode, tokens.lengths, tokens.batch, threads=threads, advance=advance)

    def save(self, folder: str | Path) -> None:
        """Write the model into ``folder``, without pickles.

        `load` reads it with its settings, `from_checkpoint` as any other checkpoint.
        """
        from lloki.io import atomic

        settings = {"precision": self.engine.precision, "max_tokens": self.max_tokens}
        with atomic(Path(folder) / SETTINGS) as path:
            path.write_text(json.dumps(settings))
        write_checkpoint(self.checkpoint, folder)

    @classmethod
    def load(cls, folder: str | Path) -> ScGPT:
        """Read what `save` wrote; ModelError if it is not there or damaged."""
        path = Path(folder) / SETTINGS
        try:
            settings = json.loads(path.read_text())
            precision, max_tokens = settings["precision"], settings["max_tokens"]
        except (OSError, ValueError, LookupError) as error:
            raise ModelError(f"{path}: cannot be read ({error}). Give a folder that save wrote.") from error
        return cls(model=folder, precision=precision, max_tokens=max_tokens)
