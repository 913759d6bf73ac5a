"""Methods and ablations beside each other on the same cells."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from lloki._log import logger
from lloki._progress import Progress, chosen
from lloki.benchmark.embeddings import Embeddings, Rows
from lloki.benchmark.methods import ABLATIONS, DEFAULT_METHODS, METHODS, Baseline, Method
from lloki.benchmark.outputs import write_benchmark
from lloki.benchmark.rerun import Rerun
from lloki.benchmark.result import Benchmark
from lloki.benchmark.scoring import Judge
from lloki.benchmark.subject import open_subject
from lloki.errors import ConfigError, InputError, LlokiError, OutputError
from lloki.evaluate import PROFILES
from lloki.evaluate.score import check_installed
from lloki.keys import FP, JOINT
from lloki.run.store import Store


@dataclass(frozen=True)
class Entry:
    """One embedding to judge."""

    kind: Literal["method", "ablation"]
    name: str
    title: str
    repeat: int
    make: Callable[[], Rows]


def benchmark(
    inputs: str | Path | Sequence[str | Path],
    *,
    out: str | Path,
    label_key: str | None = None,
    batch_key: str | None = None,
    methods: Sequence[str] | None = None,
    ablate: bool = False,
    seeds: int = 1,
    profile: Literal["fast", "full"] = "full",
    max_cells: int | None = None,
    pre: str | None = None,
    layer: str | None = None,
    umap: bool = True,
    seed: int = 0,
    progress: Progress | bool | None = None,
) -> Benchmark:
    """Score methods by how well they keep types apart and bring batches together.

    What a run has computed is taken from it, and what is computed here is kept in ``out/work``: the same call
    again, after a stop or with one method more, computes only what is missing.

    Parameters
    ----------
    inputs
        Folders of `lloki.integrate` and ``.h5ad`` files of the same cells. The first says which cells,
        labels, batches and counts there are, and is what lloki's variants and ablations are made from.
    out
        Folder for the results.
    label_key
        ``obs`` column of cell types; default that of the run.
    batch_key
        ``obs`` column of batches; default ``"slice"``.
    methods
        Names from ``METHODS`` and ``obsm`` keys; default all but ``"scvi"`` and ``"scvi-masked"``, and every
        embedding in the files.
    ablate
        Also judge the run with each part of the method taken away (``ABLATIONS``).
    seeds
        How often to repeat what depends on a seed, each time with the next one.
    profile, max_cells
        Which metrics, from how many cells; see :func:`lloki.evaluate.scib`.
    pre
        ``obsm`` key of an embedding from before integration, for the PCR comparison; default a PCA of all
        genes.
    layer
        Layer with the counts of an ``.h5ad`` file, in place of ``X``.
    umap
        Whether to lay every method out.
    seed
        Random seed of the choice of cells and of kBET. Methods of the run count from the run's own.
    progress
        Where to report; ``True`` prints lines.

    Returns
    -------
    Benchmark

    Raises
    ------
    MissingExtraError
        Without scib-metrics (the extra ``benchmark``).
    InputError
        If a file or column is absent, or no batch has enough labeled cells.
    ConfigError
        If there is no such method or profile, or ablations are asked for without a run.
    OutputError
        If ``out`` cannot be written.

    Notes
    -----
    A method that cannot be applied is left out, with its reason in ``benchmark.json``. Memory grows with the
    number of cells times the columns of one embedding, and with the counts.
    """
    check_installed()  # before any work
    if profile not in PROFILES:
        raise ConfigError(f"no profile {profile!r}. Choose one of: {', '.join(PROFILES)}")
    if seeds < 1:
        raise ConfigError(f"seeds must be at least 1, got {seeds}")
    paths = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    progress = chosen(progress)
    subject = open_subject(
        paths, label_key=label_key, batch_key=batch_key, layer=layer, keep=[*(methods or ()), pre or ""]
    )
    if ablate and subject.run is None:
        raise ConfigError("ablations run the method anew: give the folder of a run of lloki integrate first")
    with ExitStack() as stack:
        store = stack.enter_context(Store((folder := Path(out).expanduser()) / "work"))
        rerun = stack.enter_context(Rerun(subject.run, store, progress)) if subject.run else None
        makers = Embeddings(subject, store, rerun)
        judge = Judge.of(
            subject, store, profile=PROFILES[profile], max_cells=max_cells, pre_key=pre, seed=seed
        )
        entries = _methods(makers, methods, seeds)
        if ablate:
            entries = _with_ablations(entries, makers, seeds)
        scores, skipped = _score(entries, judge, progress)
        facts = judge.facts() | {
            "inputs": [str(path) for path in paths],
            "label_key": subject.label_key,
            "batch_key": subject.batch_key,
            "profile": profile,
            "seed": seed,
            "seeds": seeds,
            "skipped": skipped,
        }
        done = set(scores.loc[scores["kind"] == "method", "title"])
        firsts = [e for e in entries if e.kind == "method" and e.repeat == 0 and e.title in done]
        layouts = {e.title: judge.layout(e.name, e.make()) for e in firsts} if umap else {}
        write_benchmark(store.folder.parent, subject, judge, scores, layouts, facts)
    return Benchmark(folder)


def _methods(makers: Embeddings, wanted: Sequence[str] | None, seeds: int) -> list[Entry]:
    """Methods that are wanted, in the order of `METHODS`, then those that the files hold."""
    subject = makers.subject
    given = {k: x for k, x in subject.embeddings.items() if subject.run is None or k not in (FP, JOINT)}
    if wanted is None:
        built_in = [n for n in DEFAULT_METHODS if subject.run or isinstance(METHODS[n], Baseline)]
        wanted = [*built_in, *given]
    unknown = [name for name in wanted if name not in METHODS and name not in subject.embeddings]
    if unknown:
        raise ConfigError(
            f"there is no method {unknown[0]!r}. Built in: {', '.join(METHODS)}. In the files: "
            f"{', '.join(subject.embeddings) or 'none'}."
        )
    entries = [e for name in METHODS if name in wanted for e in _repeats("method", name, makers, seeds)]
    return entries + [
        Entry("method", name, name, 0, lambda x=subject.embeddings[name]: x)  # type: ignore[misc]
        for name in dict.fromkeys(wanted)
        if name not in METHODS
    ]


def _with_ablations(entries: list[Entry], makers: Embeddings, seeds: int) -> list[Entry]:
    if not any(e.name == "lloki" for e in entries):
        entries = [*_repeats("method", "lloki", makers, seeds), *entries]
    return entries + [e for name in ABLATIONS for e in _repeats("ablation", name, makers, seeds)]


def _repeats(kind: Literal["method", "ablation"], name: str, makers: Embeddings, seeds: int) -> list[Entry]:
    method: Method = METHODS[name] if kind == "method" else ABLATIONS[name]
    times = seeds if makers.seeded(method) else 1
    title = makers.title(method)
    return [
        Entry(kind, name, title, i, lambda i=i: makers.of(method, i))  # type: ignore[misc]
        for i in range(times)
    ]


def _score(entries: Sequence[Entry], judge: Judge, progress: Progress) -> tuple[pd.DataFrame, dict[str, str]]:
    """Judge every entry: a row each, and the reasons of those that cannot be judged."""
    rows: list[dict[str, Any]] = []
    skipped: dict[str, str] = {}
    advance = progress.task("Scoring", len(entries), "embeddings")
    for entry in entries:
        try:
            found = judge.scores(entry.name, entry.make())
        except OutputError:
            raise
        except Exception as error:  # one method must not cost the others
            why = str(error) if isinstance(error, LlokiError) else f"{type(error).__name__}: {error}"
            title = f"{entry.title}, repeat {entry.repeat}" if entry.repeat else entry.title
            skipped[title] = why
            logger.warning("%s is left out: %s", entry.title, why)
        else:
            about = {k: getattr(entry, k) for k in ("kind", "name", "title", "repeat")}
            rows.append(about | {"columns": found["columns"]} | found["values"] | {"notes": found["notes"]})
        advance(1)
    if not rows:
        raise InputError(
            "no method could be judged. " + " ".join(f"{k}: {why}" for k, why in skipped.items())
        )
    return pd.DataFrame(rows), skipped
