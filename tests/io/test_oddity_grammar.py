# ruff: noqa: E501 -- tables, one oddity a line
"""Slices drawn from a grammar of oddities: equal to the plain form, a reported correction, or an error with a hint.

Whatever is drawn, no other exception, no change of the input, and no file that is half-written.
"""

from __future__ import annotations

import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anndata as ad
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from anndata import AnnData
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from scipy import sparse

from lloki import io, keys
from lloki.errors import GeneError, InputError, LlokiError

GENES = tuple(
    [
        "Slc17a7",
        "Slc17a6",
        "Gad1",
        "Gad2",
        "Sst",
        "Pvalb",
        "Vip",
        "Lamp5",
        "Cux2",
        "Rorb",
        "Fezf2",
        "Foxp2",
        "Mbp",
        "Plp1",
        "Pdgfra",
        "Gfap",
        "Aqp4",
        "Cx3cr1",
        "Flt1",
        "Cldn5",
        "1700022I11Rik",
        "mt-Co1",
        "H2-K1",
        "C1ql3",
    ]
)
EQUAL, REPORTED = "equal", "reported"  # what is demanded where a slice is not refused


@dataclass(frozen=True)
class Oddity:
    """A change of a slice, and what is demanded of reading it: equal content, or a message with this text."""

    name: str
    change: Callable[[AnnData, np.random.Generator], AnnData | None]
    demand: str = EQUAL
    says: str = ""
    refused: bool = False  # must be, whatever else is odd
    options: dict[str, Any] = field(default_factory=dict)


def _dense(adata: AnnData) -> np.ndarray:
    return np.asarray(adata.X.todense() if sparse.issparse(adata.X) else adata.X, dtype=np.float64)


def matrix(change: Callable[[np.ndarray], Any]) -> Callable[[AnnData, np.random.Generator], None]:
    return lambda a, _: setattr(a, "X", change(_dense(a)))


def _unsorted(x: np.ndarray) -> sparse.csr_matrix:
    """Columns of each row in reverse, with zeros stored."""
    columns = np.indices(x.shape)[1]
    out = sparse.csr_matrix((x.shape[0], x.shape[1]))
    out.indptr = (np.arange(x.shape[0] + 1) * x.shape[1]).astype(np.int32)
    out.indices, out.data = columns[:, ::-1].ravel().astype(np.int32), x[:, ::-1].ravel()
    return out


def _long(x: np.ndarray) -> sparse.csc_matrix:
    out = sparse.csc_matrix(x)
    out.indices, out.indptr = out.indices.astype(np.int64), out.indptr.astype(np.int64)
    return out


FORMS = [
    Oddity("CSR", matrix(sparse.csr_matrix)),
    Oddity("CSC of long indices", matrix(_long)),
    Oddity("unsorted, stored zeros", matrix(_unsorted)),
    Oddity("csr_array", matrix(sparse.csr_array)),
    *(
        Oddity(kind, matrix(lambda x, kind=kind: np.minimum(x, 100).astype(kind)))
        for kind in ("i1", "u2", "i8", "f8", ">f4", "longdouble")
    ),
    Oddity("Fortran order", matrix(np.asfortranarray)),
    Oddity("dask", matrix(lambda x: da.from_array(x, chunks=(max(1, len(x) // 3), x.shape[1])))),
    Oddity("noise", matrix(lambda x: np.where(x > 0, x + 1e-5, 0))),
]


def _put(x: np.ndarray, value: float) -> np.ndarray:
    x = x.copy()
    if x.size:
        x.flat[x.size // 2] = value
    return x


def _logs(x: np.ndarray) -> np.ndarray:
    return np.log1p(x / np.maximum(x.sum(1, keepdims=True), 1) * 1e4)


VALUES = [
    Oddity("a NaN", matrix(lambda x: _put(x, np.nan)), refused=True),
    Oddity("infinite", matrix(lambda x: _put(x, np.inf)), refused=True),
    Oddity("negative", matrix(lambda x: _put(x, -1)), refused=True),
    Oddity(
        "masked",
        matrix(lambda x: np.ma.masked_array(x, np.arange(x.size).reshape(x.shape) == 0)),
        refused=True,
    ),
    Oddity("text", matrix(lambda x: x.astype(str).astype(object)), refused=True),
    Oddity("z-scores", matrix(lambda x: (x - x.mean(0)) / (x.std(0) + 1)), refused=True),
    Oddity("logarithms", matrix(_logs), refused=True),
    Oddity("zeros", matrix(np.zeros_like), refused=True),
]


def names(change: Callable[[int, str], str]) -> Callable[[AnnData, np.random.Generator], None]:
    return lambda a, _: setattr(a, "var_names", [change(i, n) for i, n in enumerate(a.var_names)])


def _in_column(adata: AnnData, rng: np.random.Generator) -> None:
    adata.var["symbol"] = list(adata.var_names)
    adata.var_names = [f"ENSMUSG{i:011d}.{i}" for i in range(adata.n_vars)]


def beside(features: list[str], value: float) -> Callable[[AnnData, np.random.Generator], AnnData]:
    def change(adata: AnnData, rng: np.random.Generator) -> AnnData:
        values = sparse.csr_matrix(np.full((adata.n_obs, len(features)), value))
        more = AnnData(values, obs=adata.obs, var=pd.DataFrame(index=features))
        plain = AnnData(sparse.csr_matrix(_dense(adata)), obs=adata.obs, var=adata.var)
        both = ad.concat([plain, more], axis=1, merge="first")
        return AnnData(both.X, obs=adata.obs, var=both.var, obsm=dict(adata.obsm), uns=dict(adata.uns))

    return change


NAMES = [
    Oddity("genome", names(lambda i, n: f"mm10___{n}"), says="genome before gene names"),
    Oddity("bytes", names(lambda i, n: f"b'{n}'"), says="quotes"),
    Oddity("quotes", names(lambda i, n: f'"{n}"'), says="quotes"),
    Oddity("blanks", names(lambda i, n: n + " \u00a0"), says="blanks around"),
    Oddity("with ids", names(lambda i, n: f"{n}_ENSMUSG{i:011d}"), says="Ensembl ids"),
    Oddity("symbols in a column", _in_column, says="gene names taken from"),
    Oddity("controls", beside(["Blank-1", "NegPrb3"], 1.0), says="measure no gene"),
    Oddity("measurements", beside(["DAPI", "cell_area"], 81.25), says="measure no gene"),
    Oddity(
        "in capitals too", names(lambda i, n: GENES[0].upper() if i == 1 else n), REPORTED, "letter case only"
    ),
    Oddity("repeated", names(lambda i, n: GENES[0] if i == 1 else n), REPORTED, "repeats 1 name"),
    Oddity("nameless", names(lambda i, n: "nan" if i == 1 else n), REPORTED, "measure no gene"),
    Oddity("dates", names(lambda i, n: "1-Mar" if i == 1 else n), REPORTED, "turned into dates"),
    Oddity("numbers", names(lambda i, n: str(i)), refused=True),
    Oddity("barcodes", names(lambda i, n: "ACGT" * 4 + f"-{i}"), refused=True),
]


def positions(change: Callable[[np.ndarray, AnnData], Any]) -> Callable[[AnnData, np.random.Generator], None]:
    return lambda a, _: a.obsm.__setitem__("spatial", change(np.array(a.obsm["spatial"]), a))


PLACES = [
    Oddity("table", positions(lambda v, a: pd.DataFrame(v, index=a.obs_names, columns=["x", "y"]))),
    Oddity("y before x", positions(lambda v, a: pd.DataFrame(v[:, ::-1], index=a.obs_names, columns=["Y", "X"])), says="read as x, y"),
    Oddity("sparse", positions(lambda v, a: sparse.csr_matrix(v))),
    Oddity("text", positions(lambda v, a: v.astype(str))),
    Oddity("three, flat", positions(lambda v, a: np.column_stack([v, np.full(len(v), 7.0)])), REPORTED),
    Oddity("nanometers", positions(lambda v, a: v * 1e3), REPORTED),
    Oddity("NaN", positions(lambda v, a: _put(v, np.nan)), refused=True),
    Oddity("masked", positions(lambda v, a: np.ma.masked_array(v, np.arange(v.size).reshape(v.shape) == 0)), refused=True),
    Oddity("one place", positions(lambda v, a: np.ones_like(v)), refused=True),
    Oddity("four columns", positions(lambda v, a: np.hstack([v, v])), refused=True),
    Oddity("overflow", positions(lambda v, a: v * 1e300), refused=True),
]  # fmt: skip


def column(values: Callable[[int], Any], name: str = "c") -> Callable[[AnnData, np.random.Generator], None]:
    return lambda a, _: a.obs.__setitem__(name, values(a.n_obs))


def _cycle(*values: Any) -> Callable[[int], list[Any]]:
    return lambda n: [values[i % len(values)] for i in range(n)]


CELLS = [
    Oddity("mixed", column(_cycle(1, "a", None)), says="mixed kinds"),
    Oddity("lists", column(_cycle([1], [2])), says="mixed kinds"),
    Oddity("nothing", column(_cycle(None))),
    Oddity("bytes", column(_cycle(b"a", b"b")), says="mixed kinds"),
    Oddity("long ids", column(lambda n: 3953998300007100772 + np.arange(n) * 17)),
    Oddity("nullable", column(lambda n: pd.array(_cycle(1, None)(n), dtype="Int64"))),
    Oddity("nullable float", column(lambda n: pd.array(_cycle(1.5, None)(n), dtype="Float64"))),
    Oddity("intervals", column(lambda n: pd.cut(np.arange(n) * 1.0, [-1, n / 2, n + 1])), says="mixed kinds"),
    Oddity("dates", column(lambda n: pd.date_range("2024-01-01", periods=n)), says="mixed kinds"),
    Oddity("text of pandas", column(lambda n: pd.array(_cycle("a", None)(n), dtype="string"))),
    Oddity("mixed categories", column(lambda n: pd.Categorical(_cycle(1, "a")(n), categories=[1, "a"])), says="mixed kinds|categories that no row"),
    Oddity("surrogates", column(_cycle("\ud800", "a\0")), says="mixed kinds"),
    Oddity("reserved", column(_cycle("a"), "_index"), says="files reserve"),
    Oddity("ours", column(_cycle("a"), "slice"), says="a name that lloki uses"),
    Oddity("slash", column(_cycle("a"), "a/b"), says="a / in the name"),
    Oddity("index of a column's name", lambda a, _: setattr(a.obs.index, "name", "cell_type")),
    Oddity("missing labels", column(_cycle("nan", "A"), "cell_type"), says="taken as unlabeled", options={"label_key": "cell_type"}),
    Oddity("blanks in labels", column(_cycle("B ", "A"), "cell_type"), says="blanks around", options={"label_key": "cell_type"}),
    Oddity("numbers as labels", column(_cycle(1.0, 2.0), "cell_type"), says="are numbers", options={"label_key": "cell_type"}),
    Oddity("a section missing", column(_cycle("nan", "A"), "c"), refused=True, options={"slice_key": "c"}),
    Oddity("junk of ours", lambda a, _: a.uns.update(lloki={"source": 1, "slices": ["a"]})),
    Oddity("technology missing", lambda a, _: a.uns.update(technology="NA"), says="no technology is given"),
]  # fmt: skip

HELD = (*("memory", "view") * 3, *("h5ad", "backed") * 2, "zarr")  # the slow ones less often


@dataclass(frozen=True)
class Drawn:
    """A slice of the grammar."""

    cells: int
    genes: int
    seed: int
    empty: float
    oddities: tuple[Oddity, ...]
    held: str

    def __repr__(self) -> str:
        odd = ", ".join(o.name for o in self.oddities)
        return f"{self.cells} x {self.genes} (seed {self.seed}, {self.empty:.0%} zeros) in {self.held}: {odd}"


ALL = (FORMS, VALUES, NAMES, PLACES, CELLS)
VALID = [[o for o in kind if not o.refused] for kind in ALL]
REFUSED = [(i, o) for i, kind in enumerate(ALL) for o in kind if o.refused]

# sizes at which something happens, and any other; most draws are to be valid, or little is read and compared
CELLS_DRAWN = st.one_of(st.sampled_from([2, 3, 9, 10, 20, 40, 41]), *[st.integers(2, 500)] * 4)
GENES_DRAWN = st.one_of(st.integers(1, len(GENES)), *[st.integers(len(GENES) // 2, len(GENES))] * 4)
EMPTY_DRAWN = st.sampled_from([0.0, 0.0, 0.3, 0.3, 0.5, 0.5, 0.9])
NOTHING = [
    (0, 9, 0.3),
    (1, 9, 0.3),
    (40, 0, 0.3),
    (0, 0, 0.3),
    (40, 9, 1.0),
    (1, 1, 1.0),
]  # cells, genes, zeros


@st.composite
def slices(draw: st.DrawFn) -> Drawn:
    """A slice with up to five oddities, one of each kind; one draw in eight must be refused, some hold nothing."""
    drawn = [draw(st.sampled_from([None, None, *kind, *kind])) if kind else None for kind in VALID]
    if draw(st.integers(0, 7)) == 5:
        kind, oddity = draw(st.sampled_from(REFUSED))
        drawn[kind] = oddity
        if oddity in VALUES:
            drawn[0] = None  # the values are to stay as they are
    cells, genes, empty = draw(CELLS_DRAWN), draw(GENES_DRAWN), draw(EMPTY_DRAWN)
    if draw(st.integers(0, 15)) == 11:
        cells, genes, empty = draw(st.sampled_from(NOTHING))
    return Drawn(
        cells,
        genes,
        draw(st.integers(0, 99)),
        empty,
        tuple(o for o in (drawn[2], drawn[3], drawn[4], drawn[0], drawn[1]) if o),
        draw(st.sampled_from(HELD)),
    )


def plain(drawn: Drawn) -> AnnData:
    rng = np.random.default_rng(drawn.seed)
    shape = (drawn.cells, drawn.genes)
    x = np.minimum(rng.poisson(rng.gamma(0.5, 4.0, shape)), 100).astype(np.float32)
    x[rng.random(shape) < drawn.empty] = 0
    return AnnData(
        sparse.csr_matrix(x),
        obs=pd.DataFrame({"cell_type": ["A", "B"] * (drawn.cells // 2) + ["A"] * (drawn.cells % 2)}, index=[f"c{i}" for i in range(drawn.cells)]),
        var=pd.DataFrame(index=list(GENES[: drawn.genes])),
        obsm={"spatial": rng.uniform(1, 500, (drawn.cells, 2))},
        uns={"technology": "MERFISH"},
    )  # fmt: skip


def make(drawn: Drawn) -> AnnData:
    adata, rng = plain(drawn), np.random.default_rng(drawn.seed)
    for oddity in drawn.oddities:
        adata = oddity.change(adata, rng) or adata
    return adata


def fingerprint(adata: AnnData) -> list[Any]:
    """All of an AnnData in memory that reading could change."""
    x = adata.X.compute() if hasattr(adata.X, "compute") else adata.X
    parts = (
        [x.data.tobytes(), x.indices.tobytes(), x.indptr.tobytes()]
        if sparse.issparse(x)
        else [np.asarray(x).tobytes()]
    )
    spatial = adata.obsm["spatial"]
    spatial = spatial.toarray() if sparse.issparse(spatial) else spatial
    return [
        *parts,
        np.asarray(spatial).astype(str).tolist(),
        adata.obs.astype(str).to_csv(errors="replace"),
        [str(t) for t in adata.obs.dtypes],
        adata.var.astype(str).to_csv(),
        adata.obs.index.name,
        repr(dict(adata.uns)),
    ]  # fmt: skip


def hold(adata: AnnData, held: str, folder: Path) -> Any:
    """The same slice in a file or a view; in memory where these cannot hold it, as a mask."""
    if np.ma.isMaskedArray(adata.X) or np.ma.isMaskedArray(adata.obsm["spatial"]):
        return adata
    if held == "view":
        return adata[np.arange(adata.n_obs)]
    try:
        if held in ("h5ad", "backed"):
            adata.write_h5ad(folder / "s.h5ad")
            return folder / "s.h5ad" if held == "h5ad" else ad.read_h5ad(folder / "s.h5ad", backed="r")
        if held == "zarr":
            adata.write_zarr(folder / "s.zarr")
            return folder / "s.zarr"
    except Exception:  # what anndata cannot write is held in memory
        return adata
    return adata


def try_reading(drawn: Drawn, *, files_too: bool = True) -> str:
    """Read a drawn slice, hold what is demanded against it, and say which of the three it was.

    Without ``files_too``, what is read is not written and read again, which takes half of the time.
    """
    options = {k: v for o in drawn.oddities for k, v in o.options.items()}
    with TemporaryDirectory() as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder = Path(temporary)
        adata = make(drawn)
        given_ = hold(adata, drawn.held, folder)
        before, files = fingerprint(adata), sorted(folder.rglob("*"))
        found, refused = None, None
        try:
            (found,) = io.read_slices([given_], samples=["s"], **options)
        except LlokiError as error:
            refused = error
        (check, *_) = io.check_slices([given_], samples=["s"], **options)
        if drawn.held == "backed" and isinstance(given_, AnnData) and given_.isbacked:
            given_.file.close()
        if refused is not None:
            assert isinstance(refused, InputError | GeneError)
            assert refused.hint, refused
            assert refused.where, refused
            assert str(refused) in check.errors
        assert check.ok == (refused is None)
        assert fingerprint(adata) == before
        assert sorted(folder.rglob("*")) == files  # nothing is left beside the input
        if found is None:
            if not any(
                o.refused for o in drawn.oddities
            ):  # then nothing else than its size or zeros is wrong
                (check, *_) = io.check_slices([plain(drawn)], samples=["s"])
                assert not check.ok or any(o.demand == REPORTED for o in drawn.oddities), drawn
            return "refused"
        assert not any(o.refused for o in drawn.oddities)
        said = "\n".join(found.uns[keys.UNS]["messages"])
        for oddity in drawn.oddities:
            if oddity in CELLS and given_ is not adata and drawn.held != "view":
                continue  # anndata itself may have made text of it, in the file
            if oddity.says and not (oddity.demand == REPORTED and drawn.genes < 2):  # of its second gene
                assert re.search(oddity.says, said), (oddity.name, said)
        if files_too:
            with io.atomic(folder / "out.h5ad") as path:
                found.write_h5ad(path)
            again = io.read_slices([folder / "out.h5ad"], samples=["s"])[0]
            assert io.content_hash(again) == io.content_hash(found)
        if all(o.demand == EQUAL for o in drawn.oddities):
            assert io.content_hash(found) == io.content_hash(io.read_slices([plain(drawn)], samples=["s"])[0])
            return EQUAL
        return REPORTED


# a failure is printed as drawn: reduced, it would take minutes and read no better
DRAWN = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=[Phase.explicit, Phase.reuse, Phase.generate],
)


def outcomes(examples: int, *, files_of: int = 1, **more: Any) -> Counter[str]:
    """Try so many slices, files of one in so many of them, and count what became of them."""
    counted: Counter[str] = Counter()

    @settings(DRAWN, max_examples=examples, **more)
    @given(slices())
    def each(drawn: Drawn) -> None:
        counted[try_reading(drawn, files_too=drawn.seed % files_of == 0)] += 1

    each()
    return counted


def test_whatever_is_drawn() -> None:
    """Files mostly in the next test, which has each oddity, and in the slow one: they take the longest."""
    counted = outcomes(170, files_of=4, derandomize=True)
    assert counted["refused"] < sum(counted.values()) / 2  # else the grammar demands little


@pytest.mark.slow
@pytest.mark.timeout(1800)  # a part takes a minute, but on a busy machine
@pytest.mark.parametrize("part", range(8))
def test_whatever_is_drawn_often(part: int) -> None:
    """2,000 draws, in parts: all at once take longer than one test may."""
    counted = outcomes(250, files_of=2, database=None)
    print(dict(counted))
    assert sum(counted.values()) >= 250
    assert counted["refused"] < sum(counted.values()) / 2


def test_each_oddity_alone() -> None:
    """None is refused unless it must be, and those that must are."""
    for oddity in (o for kind in ALL for o in kind):
        drawn = Drawn(60, 24, 1, 0.3, (oddity,), "memory")
        assert (try_reading(drawn) == "refused") == oddity.refused, drawn
