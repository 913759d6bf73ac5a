"""Cost of scGPT embeddings at 12 layers x 512 with random weights, compared with torch's encoder.

    python benchmarks/scgpt.py                                  # the table, some minutes on two cores
    python benchmarks/scgpt.py --device cuda --cells 4096       # on a GPU, with the error of half precision
    python benchmarks/scgpt.py --device cuda --cells 50000 --sets short --methods lloki

Simulated cells with 50-150, 200-400 and 800-1,100 non-zero genes, and equal parts of the three. Compared with
``ScGPT.embed``: ``nn.TransformerEncoder`` with the same weights on batches of 64 cells in the order given,
padded to their longest ("padded"; "nested" in ``--methods`` lets it use nested tensors). Its tokens come from
lloki, and it uses all cores. Every row is a fresh process, after a warm-up. FLOP are those needed for the
actual tokens, with the last layer for <cls> only; padding does not count. The large matrix product is
measured in the same process, per second and per CPU-second. Memory is that of the process, or with a GPU that
allocated by torch.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from scipy import sparse
from torch import nn
from torch.nn import functional as F

from lloki.embed._transformer import PRECISIONS, cell_keys
from lloki.embed.scgpt import ScGPT
from lloki.embed.scgpt.network import Network, Sizes
from lloki.embed.scgpt.tokens import Tokens

SIZES = Sizes(tokens=60_697, dim=512, hidden=512, layers=12, heads=8)
PANEL = 2_000
LENGTHS = {"short": (50, 150), "middle": (200, 400), "long": (800, 1_100)}
CELLS = {"short": 256, "middle": 128, "long": 64, "mixed": 128}
# Cells per second of the public package (scgpt 0.2.4) at 12 x 512, two cores, float32: measured elsewhere.
PUBLIC = "The public package, measured elsewhere: 18 cells/s at 100 genes, 2.5 to 4 at 300."
BATCH = 64
GENES = [f"GENE{i}" for i in range(SIZES.tokens - 3)]


def write_checkpoint(folder: Path) -> None:
    """The published form, of random weights."""
    torch.manual_seed(0)
    save_file(Network(SIZES).state_dict(), folder / "model.safetensors")
    args = {"embsize": SIZES.dim, "d_hid": SIZES.hidden, "nlayers": SIZES.layers, "nheads": SIZES.heads}
    (folder / "args.json").write_text(json.dumps(args | {"pad_token": "<pad>", "pad_value": -2}))
    vocab = {name: i for i, name in enumerate([*GENES, "<pad>", "<cls>", "<eoc>"])}
    (folder / "vocab.json").write_text(json.dumps(vocab))


def made_up_cells(which: str, n: int) -> sparse.csr_matrix:
    """(n, 2000) of gamma values, with as many non-zero genes a cell as the set says."""
    rng = np.random.default_rng(0)
    parts = list(LENGTHS.values()) if which == "mixed" else [LENGTHS[which]]
    low, high = np.array(parts)[rng.permutation(np.arange(n) % len(parts))].T
    lengths = rng.integers(low, high + 1)
    columns = np.concatenate([np.sort(rng.choice(PANEL, k, replace=False)) for k in lengths])
    values = rng.gamma(1, 1, lengths.sum()).astype(np.float32)
    return sparse.csr_matrix((values, columns, np.cumsum([0, *lengths])), shape=(n, PANEL))


def needed_flop(lengths: np.ndarray) -> float:
    """Twice the multiplications for cells of so many tokens."""
    t, d, h = lengths.astype(float), SIZES.dim, SIZES.hidden
    layer = t * (4 * d * d + 2 * d * h) + 2 * t * t * d
    last = t * 2 * d * d + 2 * d * d + 2 * d * h + 2 * t * d
    return float(2 * ((SIZES.layers - 1) * layer + last).sum())


def plain_encoder(model: ScGPT, *, nested: bool) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(SIZES.dim, SIZES.heads, SIZES.hidden, batch_first=True)
    encoder = nn.TransformerEncoder(layer, SIZES.layers, enable_nested_tensor=nested).eval()
    start = "transformer_encoder."
    named = {name: w for name, w in model.checkpoint.weights.items() if name.startswith(start)}
    encoder.load_state_dict({k.removeprefix(start).replace("Wqkv.", "in_proj_"): w for k, w in named.items()})
    return encoder.requires_grad_(False)


def embed_plainly(
    encoder: nn.TransformerEncoder, network: Network, tokens: Tokens, device: torch.device, dtype: torch.dtype
) -> np.ndarray:
    """What a plain script does: batches in order, padded to their longest."""
    out, half = [], dtype != torch.float32
    value_of = torch.cat([torch.arange(51.0), torch.tensor([-2.0])])  # of a bin; the last is no value
    ids = torch.tensor([SIZES.tokens - 2, *tokens.ids])
    for start in range(0, len(tokens.lengths), BATCH):
        numbers, bins, *keep = tokens.batch(np.arange(start, min(start + BATCH, len(tokens.lengths))))
        pad = ~keep[0].to(device) if keep else None
        values = value_of[bins].to(device)
        with torch.inference_mode(), torch.autocast(device.type, dtype) if half else nullcontext():
            x = network.encoder(ids[numbers].to(device)) + network.value_encoder(values)
            out.append(F.normalize(encoder(x, src_key_padding_mask=pad)[:, 0].float()).cpu().numpy())
    return np.concatenate(out)


def matrix_product(device: torch.device, dtype: torch.dtype) -> tuple[float, float]:
    """FLOP per second and per CPU-second of a large product, best of five."""
    n = 2_048 if device.type == "cpu" else 8_192
    a, best = torch.randn(n, n, device=device, dtype=dtype), (0.0, 0.0)
    for _ in range(5):
        wall, cpu = time.perf_counter(), time.process_time()
        (a @ a)[0, 0].item()
        spent = time.perf_counter() - wall, time.process_time() - cpu
        best = max(best[0], 2 * n**3 / spent[0]), max(best[1], 2 * n**3 / spent[1])
    return best


def measure(folder: str, which: str, n: int, method: str, device: str, precision: str) -> dict[str, object]:
    """Run one row's work in this process."""
    model = ScGPT.from_checkpoint(folder, device=device, precision=precision)
    place = model.engine.place()
    network, x, genes = model.engine.network(), made_up_cells(which, n), GENES[:PANEL]
    dtype = next(network.transformer_encoder.parameters()).dtype
    names = [f"c{i}" for i in range(n)]
    tokens = Tokens(x, np.arange(PANEL), cell_keys(0, names), n_bins=51, max_tokens=1_200)

    def run(rows: slice) -> np.ndarray:
        if method == "lloki":
            return model.embed(x[rows], genes, cell_ids=names[rows])
        part = Tokens(x[rows], np.arange(PANEL), cell_keys(0, names[rows]), n_bins=51, max_tokens=1_200)
        return embed_plainly(encoder, network, part, place, dtype)

    if method != "lloki":
        encoder = plain_encoder(model, nested=method == "nested").to(place)
    product = matrix_product(place, dtype)
    run(slice(0, 8 if place.type == "cpu" else min(n, 4_096)))
    wall, cpu = time.perf_counter(), time.process_time()
    rows = run(slice(0, n))
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    unit = 1e9 if sys.platform == "darwin" else 1e6  # bytes there, kilobytes elsewhere
    result = {
        "wall": wall,
        "cpu": cpu,
        "flop": needed_flop(tokens.lengths),
        "product": product,
        "peak_gb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit,
        "device_gb": torch.cuda.max_memory_allocated() / 1e9 if place.type == "cuda" else 0.0,
        "precision": next(name for name, known in PRECISIONS.items() if known == dtype),
        "rows": rows[:64].tolist(),
    }
    if dtype != torch.float32 and method == "lloki":
        exact = ScGPT.from_checkpoint(folder, device=device, precision="float32")
        some = slice(0, min(n, 512))
        truth = exact.embed(x[some], genes, cell_ids=names[some])
        result["error"] = float(np.abs(truth - rows[some]).max())
        result["cosine"] = float((truth * rows[some]).sum(1).min())
    return result


def table(chosen: argparse.Namespace) -> None:
    """Print cells/s, memory, and the share of what the machine can do, as Markdown."""
    with tempfile.TemporaryDirectory() as folder:
        write_checkpoint(Path(folder))
        print("| cells | genes | method | cells/s | wall s | CPU-s | peak GB ", end="")
        print("| GFLOP/s | product | GFLOP/CPU-s | product |\n" + "|---" * 11 + "|")
        for which in chosen.sets:
            n, rows = chosen.cells or CELLS[which], {}
            for method in chosen.methods:
                work = ["--measure", folder, which, str(n), method, chosen.device, chosen.precision]
                command = [sys.executable, __file__, *work]
                done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
                rows[method] = row = json.loads(done.stdout.splitlines()[-1])
                memory = f"{row['device_gb'] or row['peak_gb']:.2f}"
                print(
                    f"| {n:,} | {which} | {method} | {n / row['wall']:.1f} | {row['wall']:.1f} "
                    f"| {row['cpu']:.1f} | {memory} "
                    f"| {row['flop'] / row['wall'] / 1e9:.0f} | {row['product'][0] / 1e9:.0f} "
                    f"| {row['flop'] / row['cpu'] / 1e9:.0f} | {row['product'][1] / 1e9:.0f} |",
                    flush=True,
                )
            for method in set(rows) - {"lloki"} if "lloki" in rows else ():
                a, b = rows[method], rows["lloki"]
                off = np.abs(np.array(a["rows"]) - b["rows"]).max()
                print(
                    f"  {which}: {a['wall'] / b['wall']:.2f}x the speed of {method} by wall time, "
                    f"{a['cpu'] / b['cpu']:.2f}x by CPU time; rows differ by at most {off:.1e}",
                    flush=True,
                )
            if "error" in rows.get("lloki", {}):
                row = rows["lloki"]
                print(f"  {row['precision']}: error {row['error']:.1e}, least cosine {row['cosine']:.6f}")
        print(PUBLIC)


if __name__ == "__main__":
    plain = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=plain)
    parser.add_argument("--sets", nargs="+", default=list(CELLS), choices=list(CELLS))
    parser.add_argument(
        "--methods", nargs="+", choices=["lloki", "padded", "nested"], default=["lloki", "padded"]
    )
    parser.add_argument("--cells", type=int, help="cells of every set; the default suits two cores")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="auto", choices=["auto", *PRECISIONS])
    parser.add_argument("--measure", nargs=6, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        folder, which, n, *rest = options.measure
        print(json.dumps(measure(folder, which, int(n), *rest)))
    else:
        table(options)
