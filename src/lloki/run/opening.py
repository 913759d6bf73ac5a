"""Inputs, each opened once: checked, and copied into the run's store in the same pass."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from anndata import AnnData

from lloki._log import logger
from lloki.embed import Embedder
from lloki.errors import ConfigError, InputError, LlokiError
from lloki.io import ReadOptions, read_reference
from lloki.io._findings import warn_once_each
from lloki.io.messages import bare
from lloki.io.reference import both_species, by_orthologs, spelled_as
from lloki.io.sections import Section
from lloki.io.slices import compare_sections, errors_between
from lloki.io.sources import Slices
from lloki.keys import UNS
from lloki.run.config import RunConfig
from lloki.run.execute import Workers
from lloki.run.inputs import Inputs
from lloki.run.labels import Labels, train_labels, trained_on
from lloki.run.reading import read_inputs
from lloki.run.reference import Reference
from lloki.run.slices import Demands, Message, SliceRecord, require
from lloki.run.store import Store


@dataclass
class Reading:
    """What one pass over the slices found.

    Attributes
    ----------
    sections
        All of them, with their findings; their AnnData are gone.
    records
        Of the slices that can be used, in the order given.
    skipped
        Slice → why it cannot be used.
    fatal
        Errors between inputs, for which none can be used.
    unmet
        Demands that slices do not meet.
    """

    sections: list[Section] = field(default_factory=list)
    records: list[SliceRecord] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    fatal: list[InputError] = field(default_factory=list)
    unmet: list[InputError] = field(default_factory=list)

    @property
    def errors(self) -> list[str]:
        """All errors, each once."""
        return list(dict.fromkeys(error for s in self.sections for error in s.findings.errors))

    def usable(self, *, skip_bad: bool, also: Sequence[LlokiError] = ()) -> list[SliceRecord]:
        """Return the records, if the run can do with them.

        Parameters
        ----------
        skip_bad
            Whether slices with an error are skipped.
        also
            Other errors of the inputs, which none can do without.

        Raises
        ------
        InputError, GeneError
            With all errors of all inputs.
        """
        errors = [*map(str, also), *self.errors]
        if errors and (also or self.fatal or not skip_bad or not self.records):
            known: list[LlokiError] = [*also, *self.unmet]
            if len(errors) == 1 and known:
                raise known[0]
            raise all_errors(errors, len(self.sections))
        for name, why in self.skipped.items():
            logger.warning("%s is skipped: %s", name, why)
        return self.records

    def messages(self) -> list[Message]:
        """Report all that was corrected or skipped."""
        found: list[Message] = []
        for r in self.records:
            source = r.info["source"]
            found += [{"slice": r.name, "text": bare(str(text), source)} for text in r.info["messages"]]
            if r.coverage is not None and r.coverage.diagnosis:
                found.append({"slice": r.name, "text": f"{r.coverage.diagnosis}. {r.coverage.hint}".strip()})
        return found + [{"slice": name, "text": f"skipped: {why}"} for name, why in self.skipped.items()]


def all_errors(errors: Sequence[str], inputs: int) -> InputError:
    """One error with all that is wrong with some of several inputs."""
    errors = list(dict.fromkeys(errors))
    if len(errors) == 1:
        what = errors[0].rstrip(".")
    else:
        what = f"{len(errors)} errors in the inputs:\n  - " + "\n  - ".join(e.rstrip(".") for e in errors)
    hint = "" if inputs == 1 else "Fix them, or skip invalid inputs with --skip-bad (skip_bad=True)."
    return InputError(what, hint=hint)


def read_slices_once(
    slices: Slices,
    options: ReadOptions,
    store: Store,
    *,
    demands: Demands,
    workers: Workers | None = None,
    copy: bool = True,
) -> Reading:
    """Open every input once, check it, and copy its slices into the store; one input is in memory at a time.

    Parameters
    ----------
    slices, options
        What to read, and how.
    store
        The run's.
    demands
        What else the run asks of each slice.
    workers
        Where inputs are read; default here.
    copy
        Without, nothing is written.

    Raises
    ------
    ConfigError
        If the options contradict each other, whatever the data.
    """
    reading = Reading()
    for found in read_inputs(slices, options, store, embedder=demands.embedder, workers=workers, copy=copy):
        reading.sections += found.sections
        errors = [error for section in found.sections for error in section.findings.errors]
        for section, taken in zip(found.sections, found.slices):
            if taken is None:
                reading.skipped[section.name] = errors[0]
                continue
            try:
                if isinstance(taken, InputError):
                    raise taken
                reading.records.append(require(taken, demands))
            except InputError as error:
                section.findings.errors.append(str(error))
                reading.unmet.append(error)
                reading.skipped[section.name] = str(error)
    _report_copies(reading)
    reading.fatal = compare_sections(reading.sections, options)
    if options.skip_bad and not reading.fatal:  # what is left must do without the inputs that are skipped
        good = [s for s in reading.sections if s.name not in reading.skipped]
        reading.fatal = errors_between(good, options)
        for section in good:
            section.findings.errors += map(str, reading.fatal)
    found_for = {section.name: section.findings.messages for section in reading.sections}
    for r in reading.records:  # with what shows only between slices
        r.info["messages"] = list(dict.fromkeys([*r.info["messages"], *found_for[r.name]]))
    return reading


def _report_copies(reading: Reading) -> None:
    """Report slices of the same cells, counts and positions, which mix well with each other."""
    first: dict[str, str] = {}
    for r in reading.records:
        other = first.setdefault(r.hash, r.name)
        if other != r.name:
            text = f"is the same as {other}: cells, counts and positions; leave one of the two out"
            next(s for s in reading.sections if s.name == r.name).findings.corrected(text)


@dataclass(frozen=True)
class Opened:
    """Checked inputs in the store.

    Attributes
    ----------
    slices, trained
        All of them, and those that are trained on.
    reference
        Cut to the slices' genes; ``None`` for an embedder that does not read expression.
    labels
        Slice → label of each cell, of those that training may see; ``None`` if it sees none.
    messages
        What was corrected or skipped.
    """

    slices: list[SliceRecord]
    trained: list[SliceRecord]
    reference: Reference | None
    labels: Labels | None
    messages: list[Message]


@dataclass
class Examined:
    """Inputs of a run as read, before their errors are raised.

    Attributes
    ----------
    reading
        The slices.
    reference
        Checked; ``None`` where none is used, or it cannot be read.
    errors
        Of the reference.
    messages
        About the reference.
    """

    reading: Reading
    reference: AnnData | None
    errors: list[LlokiError]
    messages: list[Message]


def examine(
    inputs: Inputs,
    store: Store,
    *,
    embedder: Embedder | None,
    aligns: bool,
    workers: Workers | None = None,
    copy: bool = True,
) -> Examined:
    """Open and check the reference and every slice, each once.

    Parameters
    ----------
    inputs
        What was given.
    store
        Gets the slices.
    embedder
        Of the run, if slices are to meet its demands.
    aligns
        Whether a reference is used.
    workers
        Where slices are read; default here.
    copy
        Without, nothing is written.
    """
    options, cells, errors = inputs.options, None, list[LlokiError]()
    demands, messages = Demands(embedder), list[Message]()
    other: AnnData | None = None
    if aligns and inputs.reference is not None:
        try:
            cells = read_reference(
                inputs.reference,
                layer=options.reference_layer,
                allow_normalized=options.allow_normalized,
                option="reference_layer",
            )
        except LlokiError as error:
            errors.append(error)
        else:
            info = cells.uns[UNS]
            try:
                other = by_orthologs(cells) if options.orthologs else None
            except LlokiError as error:
                errors.append(error)
                other = None
            names = None if other is None else list(other.var_names)
            demands = Demands(embedder, list(cells.var_names), info["source"], names, any_case=True)
            messages = [{"slice": "reference", "text": str(text)} for text in info["messages"]]
    copy = copy and not errors
    reading = read_slices_once(inputs.slices, options, store, demands=demands, workers=workers, copy=copy)
    fits = {demands.by_orthologs(r.genes) for r in reading.records}
    if len(fits) > 1:
        errors.append(both_species(demands.reference_name))
    elif cells is not None:
        known = len(cells.uns[UNS]["messages"])
        cells = other if other is not None and True in fits else cells
        try:
            cells = spelled_as(cells, [r.genes for r in reading.records])
        except LlokiError as error:
            errors.append(error)
        texts = [str(text) for text in cells.uns[UNS]["messages"][known:]]
        warn_once_each(texts, stacklevel=3)
        messages += [{"slice": "reference", "text": text} for text in texts]
    return Examined(reading, cells, errors, messages)


def open_inputs(
    inputs: Inputs,
    store: Store,
    config: RunConfig,
    embedder: Embedder,
    *,
    workers: Workers | None = None,
    copy: bool = True,
) -> Opened:
    """Check every input, here or on workers, and copy it into the store; after an error nothing is kept.

    Raises
    ------
    InputError, GeneError, ConfigError
        See :func:`lloki.integrate`.
    """
    aligns = config.aligns(embedder)
    with store.provisional():
        examined = examine(inputs, store, embedder=embedder, aligns=aligns, workers=workers, copy=copy)
        return opened(examined, inputs, config, aligns=aligns)


def opened(examined: Examined, inputs: Inputs, config: RunConfig, *, aligns: bool) -> Opened:
    """Take what was read for a run, or raise all errors; see `open_inputs`."""
    reading, cells = examined.reading, examined.reference
    records = reading.usable(skip_bad=inputs.options.skip_bad, also=examined.errors)
    messages = examined.messages
    if inputs.reference is not None and not aligns:
        text = f"{config.embedder} without LLOKI-FP: the reference is not used"
        messages = [{"slice": "reference", "text": text}]
    known = [section.name for section in reading.sections]
    names = _trained({r.name: r.token for r in records}, inputs.project_only, known=known)
    trained = [r for r in records if r.name in names]
    reference = None
    if cells is not None:
        reference = Reference.cut(cells, trained, records, label_key=config.label_key)
    labels = train_labels(config, trained)  # fails before any work if they are not there
    messages = [*messages, *reading.messages(), *trained_on(config, labels)]
    return Opened(records, trained, reference, labels, messages)


def _trained(tokens: Mapping[str, str], only: Sequence[str], *, known: Sequence[str]) -> list[str]:
    """Names of the slices to train on; every other one must have the technology and panel of one of them.

    Parameters
    ----------
    tokens
        Slice → batch token.
    only
        Not to be trained on.
    known
        Names that there are, with those of skipped slices.
    """
    unknown = sorted(set(only) - set(known))
    if unknown:
        raise ConfigError(
            f"project_only names {unknown[0]!r}, which is no slice. They are: {', '.join(known)}."
        )
    trained = [name for name in tokens if name not in only]
    able = {tokens[name] for name in trained}
    for name, token in tokens.items():
        if token not in able:
            raise ConfigError(
                f"slice {name!r} is not trained on, and no trained slice has its technology and panel "
                f"({token}). Train on it, or on another slice like it."
            )
    return trained
