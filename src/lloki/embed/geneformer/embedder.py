"""The embedder ``geneformer``: rank tokens through a pretrained Bert, from a checkpoint folder."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from lloki._progress import Advance
from lloki.embed.base import SliceSummary
from lloki.embed.geneformer.files import CLS, Checkpoint, read_checkpoint, write_checkpoint
from lloki.errors import ConfigError, LlokiWarning, ModelError
from lloki.genes import ORTHOLOG_VERSION, PanelCoverage, VocabularyMatch, match_vocabulary
from lloki.genes.vocabulary import LEAST

if TYPE_CHECKING:
    from lloki.embed._transformer import BatchRunner


class Geneformer:
    """Geneformer-style model: a cell is its genes ranked by expression over their usual expression.

    Genes are ranked by ``count / gene's non-zero median over the pretraining cells``; the sorted tokens go
    through a Bert, and the embedding is the mean of a layer's vectors over the cell's genes. The numbers are
    those of the public tool, without further scaling: LLOKI-CAE centers and scales its input itself.

    Parameters
    ----------
    model
        Checkpoint folder; see :func:`~lloki.embed.geneformer.files.read_checkpoint`.
    seed
        Ignored: what is random, the order of equal values, is drawn from the seed that ``embed`` gets.
    layer
        Layer whose vectors are taken: 0 is the last, -1 the one before it, which is Geneformer's default
        because the last is most bent to the pretraining task.
    mode
        ``"mean"`` over the genes, or ``"cls"`` for the vector of the first token (second version only).
    device
        Where to compute: ``"auto"``, ``"cpu"``, ``"cuda"``, ``"cuda:1"`` or ``"mps"``; ``None`` is
        ``lloki.settings.device``.
    precision
        ``"float32"``, ``"bf16"``, ``"fp16"`` (autocast); ``"auto"`` is fp16 on CUDA and float32 elsewhere.

    Raises
    ------
    ConfigError
        If there is no folder, or a setting is out of range.
    MissingExtraError
        If ``transformers`` is not installed.
    ModelError
        If the folder's files are absent, refused, damaged or do not fit each other.
    """

    name = "geneformer"
    joint = False
    uses_expression = True
    rows_per_piece = 2048

    def __init__(
        self,
        model: str | Path | None = None,
        seed: int = 0,
        *,
        layer: int = -1,
        mode: str = "mean",
        device: str | None = None,
        precision: str = "auto",
    ) -> None:
        from lloki.embed._transformer import check_precision
        from lloki.embed.geneformer.network import Network, require_transformers

        if model is None:
            raise ConfigError("geneformer needs a checkpoint folder: give it with --model (model=)")
        if mode not in ("mean", "cls"):
            raise ConfigError(f"mode must be 'mean' or 'cls', got {mode!r}")
        check_precision(precision)
        require_transformers()
        self.checkpoint: Checkpoint = read_checkpoint(Path(model).expanduser())
        self.vocabulary = self.checkpoint.vocabulary
        if mode == "cls" and not self.vocabulary.special:
            raise ConfigError(f"{model}: mode 'cls' needs a model with the token {CLS}; this one has none")
        self.device, self.precision = device, precision
        self.layer, self.mode = layer, mode
        self.weights = self.checkpoint.sha256
        self._runner: BatchRunner | None = None  # of the device last used
        self._network = Network(self.checkpoint, layer=layer, pool=mode)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        device: str | None = None,
        precision: str = "auto",
        layer: int = -1,
        mode: str = "mean",
    ) -> Geneformer:
        """Read a checkpoint folder; the same as the class itself."""
        return cls(path, device=device, precision=precision, layer=layer, mode=mode)

    @property
    def config(self) -> dict[str, Any]:
        """What results depend on besides the input; the same wherever the checkpoint lies."""
        from lloki._device import choose_device
        from lloki.embed._transformer import precision_on

        return {
            "weights": self.weights,
            "vocabulary": self.vocabulary.sha256,
            "layer": self.layer,
            "mode": self.mode,
            "precision": precision_on(choose_device(self.device), self.precision),
            "orthologs": ORTHOLOG_VERSION,
        }

    @property
    def dim(self) -> int:
        return int(self.checkpoint.sizes["hidden_size"])

    @property
    def flop_per_token(self) -> float:
        """Floating-point operations for a token, without those between tokens."""
        sizes = self.checkpoint.sizes
        width, inner = sizes["hidden_size"], sizes["intermediate_size"]
        return 2.0 * sizes["num_hidden_layers"] * (4 * width**2 + 2 * width * inner)

    def match(self, genes: Sequence[str], *, where: str = "", min_genes: int = LEAST) -> VocabularyMatch:
        """Find the genes of a panel among the model's; see :func:`~lloki.genes.match_vocabulary`."""
        return match_vocabulary(genes, self.vocabulary.names, where=where, min_genes=min_genes)

    def coverage(self, genes: Sequence[str]) -> PanelCoverage:
        """Genes that the model has tokens for, by Ensembl id, symbol or one-to-one ortholog."""
        return self.match(genes, min_genes=0).coverage()

    def summarize(self, expression: sparse.csr_matrix, genes: Sequence[str]) -> SliceSummary:
        return SliceSummary(tuple(genes))

    def fit(self, slices: Mapping[str, SliceSummary], reference: SliceSummary) -> Geneformer:
        return self

    def embed(
        self,
        expression: sparse.csr_matrix,
        genes: Sequence[str],
        *,
        cell_ids: Sequence[str],
        state: SliceSummary | None = None,
        seed: int = 0,
        threads: int | None = None,
        advance: Advance | None = None,
    ) -> NDArray[np.float32]:
        """Embed cells: (n, g) → (n, dim) float32.

        Parameters
        ----------
        expression
            Counts, or log(1 + x) of normalized counts as LLOKI-FP gives it; each cell's values show which,
            see :func:`~lloki.embed.geneformer.ranking.linear_scale`. Only values above 0 become tokens.
        genes
            (g,) symbols or Ensembl ids, of the model's species or of mouse or human with orthologs there.
            Where two genes share a token, their expression is added up.
        cell_ids
            (n,) names. Genes of equal rank value are ordered by a draw from (seed, cell id, gene).
        state
            Not used.
        seed
            For these draws.
        threads, advance
            See :class:`~lloki.embed._transformer.BatchRunner`.

        Returns
        -------
        numpy.ndarray
            A cell with none of the model's genes gets zeros; a LlokiWarning says how many there are. A
            cell with more genes than the model has positions keeps the highest ranks. Time grows with the
            number of tokens, and in cells of thousands with its square; memory with the tokens of a batch.

        Raises
        ------
        GeneError
            If the model knows fewer than 20 or 5 % of the genes.
        InputError
            If a value is negative or not finite, or lengths do not agree.
        """
        from lloki.embed._transformer import cell_keys, checked_counts
        from lloki.embed.geneformer.ranking import Sentences, rank_values

        n, x = len(cell_ids), checked_counts(expression, genes, cell_ids)
        found = self.match(genes).names
        columns = np.array([self.vocabulary.token(name) if name else -1 for name in found], dtype=np.int64)
        sentences = Sentences(
            rank_values(x, columns, self.vocabulary.medians),
            cell_keys(seed, cell_ids),
            self.vocabulary,
            positions=self.checkpoint.sizes["max_position_embeddings"],
        )
        rows = np.zeros((n, self.dim), dtype=np.float32)
        if len(sentences.cells):
            rows[sentences.cells] = self._running().run(
                sentences.lengths, sentences.batch, threads=threads, advance=advance
            )
        bare = n - len(sentences.cells)
        if bare:
            warnings.warn(
                f"{bare} of {n} cells have no gene that the model knows; they get zeros",
                LlokiWarning,
                stacklevel=2,
            )
            if advance:
                advance(bare)
        return rows

    def _running(self) -> BatchRunner:
        """Run on the device; kept, since a budget of tokens that was halved for want of memory is."""
        from lloki._device import choose_device
        from lloki.embed.geneformer.network import make_runner

        device = choose_device(self.device)
        if self._runner is None or self._runner.device != device:
            self._runner = make_runner(self._network, self.dim, device=device, precision=self.precision)
        return self._runner

    def save(self, folder: Path) -> None:
        """Write the checkpoint without pickles, and ``geneformer.json``, into an existing folder."""
        write_checkpoint(self.checkpoint, folder)
        settings = {name: getattr(self, name) for name in ("layer", "mode", "precision", "weights")}
        (folder / "geneformer.json").write_text(json.dumps(settings))

    @classmethod
    def load(cls, folder: Path) -> Geneformer:
        """Read what :meth:`save` wrote.

        Raises
        ------
        ModelError
            If a file is missing or does not fit the others.
        """
        try:
            config = json.loads((folder / "geneformer.json").read_text())
            settings = {name: config[name] for name in ("layer", "mode", "precision")}
            weights = config["weights"]
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ModelError(f"{folder}: holds no saved geneformer ({error})") from error
        loaded = cls(folder, **settings)
        loaded.weights = weights  # of the file as published, not of the copy
        return loaded
