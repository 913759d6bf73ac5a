"""Accuracy of slice alignment on real sections with known truth, compared with two other methods.

    python benchmarks/alignment.py run DATA TASKS OUT.jsonl --task exact --task partial … [--replicates 5]
    python benchmarks/alignment.py table OUT.jsonl …
    python benchmarks/alignment.py speed [--cells 5000 50000] [--paste PYTHON]

DATA/spatial holds the sections, TASKS/NAME/reference.h5ad the single-cell references. Every run is one line
of OUT.jsonl; finished runs are not repeated, so the script can be interrupted at any time. Tasks:

exact     one section split at random into two halves of its cells, each with its own panel; one half is
          rotated and moved, and in every third replicate mirrored (reflections are then allowed)
partial   the same without mirrors, the moving half cropped to 60, 40 and 25 % of its area
adjacent  two sections 50 µm apart in one frame, common genes removed in 10 % steps; with the baselines
          ``pca`` (mutual nearest neighbors in a PCA of the shared genes, Kabsch), ``kabsch`` (the same in
          the joint embedding: the paper's method) and, with --paste PYTHON, ``paste`` on 500 cells a slice
unlike    sections of different tissues: no pose is correct
stack     the four sections of one animal, each rotated and moved, realigned; share of neighbors of the same
          cell type, compared with the coordinates of the file (centered: they are not common to all four)

``--embedding factor`` embeds with the factor model alone (a second), ``full`` with `lloki.integrate`
(minutes). Slices are only linked by the reference and shared genes: labels are not used.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache, partial
from pathlib import Path

import anndata as ad
import numpy as np
import pandas as pd
from scipy import sparse

from lloki.align import AlignConfig, Rigid, align, align_stack
from lloki.benchmark.alignment._paste import SCRIPT, paste
from lloki.benchmark.alignment.trial import (
    FEWEST_SHARED,
    Measured,
    Placed,
    draw_trial,
    joint_embedding,
    nearest_kabsch,
    shared_pca,
)
from lloki.evaluate.alignment import alignment_quality, overlap_panels, pose_error, random_pose

# name → (file, section or "", task whose reference it takes)
SECTIONS = {
    **{
        f"POA {b}": ("merfish_moffitt_poa_animal1", f"bregma_{b}", "hypothalamus-45")
        for b in ("0.26", "0.21", "-0.09", "-0.29")
    },
    **{f"MOp {s}": ("merfish_zhuang_mop", s, "cortex") for s in ("slice1", "slice10", "slice21", "slice200")},
    "Xenium": ("xenium_mouse_brain_ctx_hp", "", "cortex"),
}
OVERLAPS = (1.0, 0.5, 0.2, 0.1, 0.0)
CROPS = (0.6, 0.4, 0.25)
ADJACENT = ("POA 0.26", "POA 0.21")
UNLIKE = [
    (a, b)
    for a in ("POA 0.26", "POA 0.21", "POA -0.09", "POA -0.29")
    for b in ("MOp slice1", "MOp slice10", "MOp slice200")
]
TOO_FAR = 3.0  # cell spacings: with more than 5°, what is called wrong


def read_section(data: Path, name: str) -> ad.AnnData:
    file, part, _ = SECTIONS[name]
    adata = ad.read_h5ad(data / "spatial" / f"{file}.h5ad")
    if part:
        adata = adata[adata.obs["slice"].astype(str) == part].copy()
    adata.X = sparse.csr_matrix(adata.X, dtype=np.float32)
    adata.obsm["spatial"] = np.asarray(adata.obsm["spatial"], np.float64)[:, :2]
    return adata


def read_reference(tasks: Path, name: str) -> ad.AnnData:
    reference = ad.read_h5ad(tasks / name / "reference.h5ad")
    reference.X = sparse.csr_matrix(reference.X, dtype=np.float32)
    return reference


class Bench:
    """Sections, references and embeddings; everything drawn from the numbers of a run."""

    def __init__(self, data: Path, tasks: Path, embedding: str, paste: str | None, steps: int) -> None:
        self.embedding, self.paste, self.steps = embedding, paste, steps
        self.section = lru_cache(maxsize=4)(partial(read_section, data))
        self.reference = lru_cache(maxsize=2)(partial(read_reference, tasks))

    def embed(self, slices: list[ad.AnnData], task: str, seed: int) -> list[np.ndarray]:
        """Joint embedding of slices, each on its own panel."""
        reference = self.reference(task)
        if self.embedding == "full":
            return self._integrate(slices, reference, seed)
        return joint_embedding([measured(s) for s in slices], measured(reference))

    def _integrate(self, slices: list[ad.AnnData], reference: ad.AnnData, seed: int) -> list[np.ndarray]:
        import lloki

        bare = []
        for i, s in enumerate(slices):
            one = ad.AnnData(s.X, obs=pd.DataFrame(index=s.obs_names), var=pd.DataFrame(index=s.var_names))
            one.obsm["spatial"] = s.obsm["spatial"]
            one.uns["technology"] = f"assay {i}"
            bare.append(one)
        with tempfile.TemporaryDirectory() as out:
            cae = {"steps": self.steps} if self.steps else {}
            joint = lloki.integrate(bare, reference=reference, out=out, seed=seed, cae=cae).adata
            names = list(dict.fromkeys(joint.obs["slice"].astype(str)))
            return [joint.obsm["X_lloki"][(joint.obs["slice"].astype(str) == n).to_numpy()] for n in names]

    def halves(self, name: str, overlap: float, replicate: int) -> tuple[list[ad.AnnData], list[np.ndarray]]:
        whole = self.section(name)
        seed = replicate * 1000 + round(overlap * 100)
        rng = np.random.default_rng([seed, whole.n_obs])
        drawn = rng.permutation(whole.n_obs)
        middle = whole.n_obs // 2
        panels = overlap_panels(list(whole.var_names), overlap, seed=seed)
        parts = [
            whole[np.sort(rows)][:, panel].copy()
            for rows, panel in zip((drawn[:middle], drawn[middle:]), panels)
        ]
        return parts, self.embed(parts, SECTIONS[name][2], seed)


def judged(found: Rigid, put: Rigid, xy: np.ndarray) -> dict[str, float]:
    degrees, displacement = pose_error(found, put.inverse(), put.apply(xy))
    return {"degrees": degrees, "displacement": displacement}


def lloki_run(
    x: list[np.ndarray],
    fixed: np.ndarray,
    moving: np.ndarray,
    put: Rigid,
    *,
    shared: int | None = None,
    **settings,
) -> tuple[Rigid, dict]:
    clock = time.process_time()
    config = AlignConfig(**settings)
    result = align(x[0], fixed, x[1], put.apply(moving), shared_genes=shared, config=config)
    facts = result.to_dict()
    del facts["parameters"], facts["matrix"], facts["inverse"], facts["translation"]
    facts["rivals"] = facts["rivals"][:3]
    return result.transform, facts | {"cpu": time.process_time() - clock}


def exact(
    bench: Bench, replicates: int, sections: list[str], crops: tuple[float | None, ...]
) -> Iterator[tuple]:
    for replicate in range(replicates):
        for name in sections:
            for overlap in OVERLAPS:

                def runs(
                    name: str = name, overlap: float = overlap, replicate: int = replicate
                ) -> Iterator[dict]:
                    parts, x = bench.halves(name, overlap, replicate)
                    for crop in crops:
                        mirrored = crop is None and replicate % 3 == 2
                        yield half_run(parts, x, crop, replicate, mirrored) | {
                            "crop": crop,
                            "mirrored": mirrored,
                        }

                yield {"section": name, "overlap_genes": overlap, "replicate": replicate}, runs


def half_run(
    parts: list[ad.AnnData], x: list[np.ndarray], crop: float | None, replicate: int, mirrored: bool
) -> dict:
    fixed, moving = (p.obsm["spatial"] for p in parts)
    keep = np.ones(len(moving), bool)
    if crop is not None:
        rng = np.random.default_rng([replicate, round(crop * 100)])
        low, extent = moving.min(0), np.ptp(moving, axis=0)
        corner = low + rng.random(2) * extent * (1 - np.sqrt(crop))
        keep = ((moving >= corner) & (moving <= corner + extent * np.sqrt(crop))).all(1)
    put = random_pose(moving[keep], seed=replicate, mirrored=mirrored)
    shared = len(set(parts[0].var_names) & set(parts[1].var_names))
    cropped = [x[0], x[1][keep]]
    found, facts = lloki_run(cropped, fixed, moving[keep], put, shared=shared, allow_reflection=mirrored)
    return facts | judged(found, put, moving[keep]) | {"cells": [len(fixed), int(keep.sum())]}


def adjacent(bench: Bench, replicates: int) -> Iterator[tuple]:
    for replicate in range(replicates):
        for tenth in range(10, -1, -1):

            def runs(overlap: float = tenth / 10, replicate: int = replicate) -> Iterator[dict]:
                yield from adjacent_runs(bench, overlap, replicate)

            yield {"section": " ← ".join(ADJACENT), "overlap_genes": tenth / 10, "replicate": replicate}, runs


def adjacent_runs(bench: Bench, overlap: float, replicate: int) -> Iterator[dict]:
    whole = [bench.section(n) for n in ADJACENT]
    seed = replicate * 1000 + round(overlap * 100)
    placed = [
        Placed(measured(w), w.obsm["spatial"], w.obs["cell_type"].astype(str).to_numpy()) for w in whole
    ]
    trial = draw_trial(*placed, overlap=overlap, seed=seed)
    parts = [w[:, list(p.genes)].copy() for w, p in zip(whole, trial.panels)]
    x = bench.embed(parts, SECTIONS[ADJACENT[0]][2], seed)
    fixed, moving = (p.xy for p in placed)
    found, facts = lloki_run(x, fixed, moving, trial.put)
    yield {"method": "lloki"} | facts | trial.score(found)
    yield {"method": "kabsch"} | trial.score(nearest_kabsch(x, trial.positions))
    yield {"method": "truth"} | trial.score(trial.put.inverse())
    if len(trial.shared) >= FEWEST_SHARED:
        yield {"method": "pca"} | trial.score(nearest_kabsch(shared_pca(trial), trial.positions))
        if bench.paste:
            found = paste(bench.paste, trial, seed=seed)
            runs = [{"method": "paste", "alpha": alpha} | trial.score(pose) for alpha, pose in found]
            # the best of five parameters, as in the paper, by the truth: no user could choose so well
            yield min(runs, key=lambda r: r["distance"])


def measured(adata: ad.AnnData) -> Measured:
    return Measured(sparse.csr_matrix(adata.X), tuple(map(str, adata.var_names)))


def unlike(bench: Bench, replicates: int) -> Iterator[tuple]:
    for replicate in range(replicates):
        for first, second in UNLIKE:

            def runs(first: str = first, second: str = second, replicate: int = replicate) -> Iterator[dict]:
                whole = [bench.section(n) for n in (first, second)]
                rng = np.random.default_rng(replicate)
                parts = [w[np.sort(rng.permutation(w.n_obs)[: w.n_obs * 4 // 5])].copy() for w in whole]
                x = bench.embed(parts, SECTIONS[first][2], replicate)
                fixed, moving = (p.obsm["spatial"] for p in parts)
                put = random_pose(moving, seed=replicate)
                yield lloki_run(x, fixed, moving, put, allow_reflection=bool(replicate % 2))[1]

            yield {"section": f"{first} ← {second}", "overlap_genes": None, "replicate": replicate}, runs


def stack(bench: Bench, replicates: int) -> Iterator[tuple]:
    names = [n for n in SECTIONS if n.startswith("POA")]
    for replicate in range(replicates):

        def runs(replicate: int = replicate) -> Iterator[dict]:
            whole = [bench.section(n) for n in names]
            x = bench.embed(whole, SECTIONS[names[0]][2], replicate)
            own = [w.obsm["spatial"] for w in whole]
            put = [random_pose(xy, seed=replicate * 10 + i) for i, xy in enumerate(own)]
            result = align_stack(x, [t.apply(xy) for t, xy in zip(put, own)])
            labels = [w.obs["cell_type"].astype(str).to_numpy() for w in whole]
            for i, j in zip(range(3), range(1, 4)):
                pair = result.pairs[i, j]
                placed = result.transforms[i] is not None and result.transforms[j] is not None
                middle = own[j] - np.median(own[j], axis=0) + np.median(own[i], axis=0)
                both = (labels[i], labels[j])
                row: dict = {
                    "pair": f"{names[i]} ← {names[j]}",
                    "verdict": pair.verdict.word,
                    "z": pair.verdict.z,
                    "used": (i, j) in result.used,
                    "agreement_file": alignment_quality(own[i], middle, labels=both).agreement,
                }
                if placed:
                    frames = result.transforms[i].inverse().after(result.transforms[j]).after(put[j])
                    back = put[i].inverse().after(frames)
                    found = alignment_quality(result.moved[i], result.moved[j], labels=both)
                    row |= {"degrees": back.degrees, "agreement": found.agreement}
                yield row

        yield {"section": "animal 1", "overlap_genes": 1.0, "replicate": replicate}, runs


def run(options: argparse.Namespace) -> None:
    bench = Bench(options.data, options.tasks, options.embedding, options.paste, options.steps)
    done = set()
    if options.out.exists():
        for line in options.out.read_text().splitlines():
            row = json.loads(line)
            if row.get("last"):
                done.add(
                    tuple(row[k] for k in ("task", "embedding", "section", "overlap_genes", "replicate"))
                )
    sections = options.section or list(SECTIONS)
    plans = {
        "exact": lambda: exact(bench, options.replicates, sections, (None,)),
        "partial": lambda: exact(bench, options.replicates, sections, CROPS),
        "adjacent": lambda: adjacent(bench, options.replicates),
        "unlike": lambda: unlike(bench, options.replicates),
        "stack": lambda: stack(bench, options.replicates),
    }
    for task in options.task or list(plans):
        for about, runs in plans[task]():
            key = (task, options.embedding, about["section"], about["overlap_genes"], about["replicate"])
            if key in done:
                continue
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                rows = list(runs())
            rows[-1]["last"] = True  # all runs of this plan are there
            with options.out.open("a") as file:
                for row in rows:
                    file.write(
                        json.dumps({"task": task, "embedding": options.embedding} | about | row) + "\n"
                    )
            print(*key, rows[0].get("verdict"), rows[0].get("degrees"), flush=True)


def table(options: argparse.Namespace) -> None:
    rows = pd.DataFrame([json.loads(line) for file in options.out for line in file.read_text().splitlines()])
    rows["panels"] = [
        f"{round(o * 100)} %" if o == o and o is not None else "" for o in rows["overlap_genes"]
    ]
    for (task, embedding), of_task in rows.groupby(["task", "embedding"], sort=False):
        print(f"\n### {task}, {embedding}\n")
        if task in ("exact", "partial"):
            keys = ["crop", "panels"] if task == "partial" else ["panels"]
            print(
                "| "
                + " | ".join(keys)
                + " | runs | median ° | worst ° | over 5° | median µm | in spacings "
                + "| aligned | ambiguous | failed |"
            )
            print("|---" * (len(keys) + 9) + "|")
            for key, g in of_task.groupby(keys, sort=False, dropna=False):
                spacing = [s["fixed"] or np.nan for s in g["spacing"]]
                words = " | ".join(str((g["verdict"] == w).sum()) for w in ("aligned", "ambiguous", "failed"))
                print(
                    f"| {' | '.join(map(str, key))} | {len(g)} | {g['degrees'].median():.2f} "
                    f"| {g['degrees'].max():.1f} | {(g['degrees'] > 5).sum()} "
                    f"| {g['displacement'].median():.0f} "
                    f"| {np.median(g['displacement'] / spacing):.2f} | {words} |"
                )
            spacing = np.array([s["fixed"] or np.nan for s in of_task["spacing"]])
            wrong = (of_task["degrees"] > 5) | (of_task["displacement"] > TOO_FAR * spacing)
            print(f"\n| verdict | right | wrong (over 5° or {TOO_FAR:g} spacings) |\n|---|---|---|")
            for word in ("aligned", "ambiguous", "failed"):
                of = of_task["verdict"] == word
                print(f"| {word} | {(of & ~wrong).sum()} | {(of & wrong).sum()} |")
        elif task == "adjacent":
            measures = ["degrees", "distance", "correlation", "agreement"]
            print("| panels | method | runs | median ° | worst ° | distance µm | correlation | same type |")
            print("|---" * 8 + "|")
            for (panels, method), g in of_task.groupby(["panels", "method"], sort=False):
                means = g[measures].mean()
                print(
                    f"| {panels} | {method} | {len(g)} | {g['degrees'].median():.2f} "
                    f"| {g['degrees'].max():.1f} | {means['distance']:.0f} "
                    f"| {means['correlation']:.3f} | {means['agreement']:.3f} |"
                )
        elif task == "stack":
            print("| pair | runs | verdicts | degrees from the file's | same type | in the file's frames |")
            print("|---" * 6 + "|")
            for pair, g in of_task.groupby("pair", sort=False):
                words = ", ".join(f"{n} {w}" for w, n in g["verdict"].value_counts().items())
                print(
                    f"| {pair} | {len(g)} | {words} | {g['degrees'].median():.1f} "
                    f"| {g['agreement'].mean():.3f} | {g['agreement_file'].mean():.3f} |"
                )
        else:
            print(of_task["verdict"].value_counts().to_string())
            print(f"largest z {of_task['z'].max():.1f}")


def made_up(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embedding (n, 128) of smooth random fields and noise, and positions (n, 2); the fields know no seed."""
    rng = np.random.default_rng(seed)
    xy = rng.random((n, 2))
    waves = np.random.default_rng(0)
    frequency, phase = waves.normal(0, 25, (128, 2)), waves.uniform(0, 2 * np.pi, 128)
    x = np.sin(xy @ frequency.T + phase) + rng.normal(0, 2, (n, 128))
    return x, xy * 10 * np.sqrt(n)


def speed_of(n: int, paste: str | None) -> None:
    (a, first), (b, second) = made_up(n, 1), made_up(n, 2)
    put = random_pose(second, seed=3)
    if not paste:
        small = [made_up(200, s) for s in (1, 2)]
        align(small[0][0], small[0][1], small[1][0], small[1][1])  # compiles
        wall, cpu = time.perf_counter(), time.process_time()
        result = align(a, first, b, put.apply(second))
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        error = pose_error(result.transform, put.inverse(), put.apply(second))
        row = {"wall": wall, "cpu": cpu, "peak_gb": peak, "degrees": error[0], "verdict": result.verdict.word}
    else:
        with tempfile.TemporaryDirectory() as folder:
            given, out = Path(folder) / "in.npz", Path(folder) / "out.npz"
            counts = {f"{k}_counts": np.maximum(np.rint(x + 2), 0) for k, x in (("fixed", a), ("moving", b))}
            np.savez(given, fixed_xy=first, moving_xy=put.apply(second), alphas=np.array([0.1]), **counts)
            clock = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([paste, str(SCRIPT), str(given), str(out)], check=True, stderr=subprocess.DEVNULL)
            used = resource.getrusage(resource.RUSAGE_CHILDREN)
            result_ = np.load(out)
            error = pose_error(
                Rigid(result_["rotations"][0], result_["translations"][0]), put.inverse(), put.apply(second)
            )
            cpu = used.ru_utime + used.ru_stime - clock.ru_utime - clock.ru_stime
            row = {
                "wall": float(result_["seconds"][0]),
                "cpu": cpu,
                "peak_gb": float(result_["peak_gb"]),
                "degrees": error[0],
                "verdict": "",
            }
    print(json.dumps(row))


def speed(options: argparse.Namespace) -> None:
    if options.one:
        speed_of(options.one, options.paste)
        return
    print("| cells a slice | method | wall s | CPU-s | peak GB | error ° | verdict |\n" + "|---" * 7 + "|")
    for n in options.cells:
        for python in (None, *([options.paste] if options.paste and n <= options.paste_up_to else [])):
            command = [
                sys.executable,
                __file__,
                "speed",
                "--one",
                str(n),
                *(["--paste", python] if python else []),
            ]
            done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
            row = json.loads(done.stdout.splitlines()[-1])
            print(
                f"| {n:,} | {'PASTE' if python else 'lloki'} | {row['wall']:.1f} | {row['cpu']:.1f} "
                f"| {row['peak_gb']:.2f} | {row['degrees']:.2f} | {row['verdict']} |",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(required=True)
    command = commands.add_parser("run")
    command.add_argument("data", type=Path)
    command.add_argument("tasks", type=Path)
    command.add_argument("out", type=Path)
    command.add_argument(
        "--task", action="append", choices=("exact", "partial", "adjacent", "unlike", "stack")
    )
    command.add_argument("--section", action="append", choices=list(SECTIONS))
    command.add_argument("--replicates", type=int, default=5)
    command.add_argument("--embedding", choices=("factor", "full"), default="factor")
    command.add_argument(
        "--steps", type=int, default=0, help="of training, with --embedding full; 0: default"
    )
    command.add_argument("--paste", help="Python of an environment with paste-bio")
    command.set_defaults(do=run)
    command = commands.add_parser("table")
    command.add_argument("out", type=Path, nargs="+")
    command.set_defaults(do=table)
    command = commands.add_parser("speed")
    command.add_argument(
        "--cells", type=int, nargs="+", default=[1_000, 2_000, 4_000, 10_000, 25_000, 50_000]
    )
    command.add_argument("--paste", help="Python of an environment with paste-bio")
    command.add_argument("--paste-up-to", type=int, default=4_000)
    command.add_argument("--one", type=int, help=argparse.SUPPRESS)
    command.set_defaults(do=speed)
    chosen = parser.parse_args()
    chosen.do(chosen)
