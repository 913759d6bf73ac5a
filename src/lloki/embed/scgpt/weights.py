"""The weights of a checkpoint: read without running anything, and taken only if they fit exactly.

A weight that does not load silently gives plausible and wrong embeddings, so nothing is skipped: every weight
that embedding needs must be there with the shape that ``args.json`` gives it, and every other must belong to
a part that embedding is known not to need.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lloki.embed.scgpt.network import Network, Sizes
from lloki.errors import ModelError

PICKLED, SAFE = "best_model.pt", "model.safetensors"

# Parts of published models that give something else than the cell's vector.
UNUSED = (
    "decoder.",
    "cls_decoder.",
    "mvc_decoder.",
    "grad_reverse_discriminator.",
    "batch_encoder.",  # of batch labels: read by decoders only
    "flag_encoder.",  # of tokens to be generated
)
_SHOWN = 5  # names in a message


def read_weights(path: Path, sizes: Sizes) -> dict[str, Tensor]:
    """Read what a network of these sizes needs, float32, on the CPU.

    Parameters
    ----------
    path
        A safetensors file, or a pickled state dict: of a pickle only tensors and plain values are read.
    sizes
        As ``args.json`` and ``vocab.json`` say.

    Raises
    ------
    ModelError
        If the file is damaged or holds code, or if weights are missing, unexpected, misshapen or not finite.
    """
    found = _load(path)
    with torch.device("meta"):
        wanted = {name: weight.shape for name, weight in Network(sizes).state_dict().items()}
    given = {_own_name(name): name for name in found}  # our names → the file's
    missing = [name for name in wanted if name not in given]
    twice = [name for name in found if given[_own_name(name)] != name]
    unknown = [name for own, name in given.items() if own not in wanted and not name.startswith(UNUSED)]
    wrong = []
    for name, shape in wanted.items():
        here = getattr(found[given[name]], "shape", ()) if name in given else shape
        if here != shape:
            wrong.append(f"{given[name]} is {_shape(here)} instead of {_shape(shape)}")
        elif name in given and not found[given[name]].is_contiguous():
            # A square weight does not show by its shape that it was transposed, but it may by its strides.
            wrong.append(f"{given[name]} is {_shape(here)} but stored transposed")
    problems = [_list("missing", missing), _list("unexpected", unknown + twice), _list("misshapen", wrong)]
    if any(problems):
        raise ModelError(
            f"{path}: does not fit args.json (embsize {sizes.dim}, d_hid {sizes.hidden}, nlayers "
            f"{sizes.layers}) and vocab.json ({sizes.tokens} tokens): {'; '.join(filter(None, problems))}. "
            "Put the three files of one checkpoint together, with weights named and shaped as published."
        )
    return {name: _usable(found[given[name]], given[name], path) for name in wanted}


def _load(path: Path) -> dict[str, Any]:
    from lloki.io.trust import check_archive  # brings anndata, which nothing else here needs

    try:
        check_archive(path)
        loaded = load_file(path) if path.name == SAFE else torch.load(path, "cpu", weights_only=True)
    except UnpicklingError as error:
        asked = re.search(r"GLOBAL ([\w.]+)", str(error))
        what = f"a pickle that asks for {asked[1]}" if asked else "not what torch.save writes of a state dict"
        raise ModelError(
            f"{path}: holds something else than weights, {what}. Reading that could run code, so it was "
            f"not read. Take the published file or, if you trust this one, convert it to {SAFE} elsewhere."
        ) from error
    except (OSError, RuntimeError, ValueError, EOFError, LookupError, SafetensorError) as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise ModelError(f"{path}: cannot be read ({reason}). The file is damaged: copy it again.") from error
    if not isinstance(loaded, Mapping) or not all(isinstance(name, str) for name in loaded):
        raise ModelError(f"{path}: holds a {type(loaded).__name__}, not named weights. Save a state dict.")
    return dict(loaded)


def _usable(weight: Tensor, name: str, path: Path) -> Tensor:
    if not weight.is_floating_point():
        raise ModelError(f"{path}: {name} is {weight.dtype}, not floating point. Save it as float32.")
    bad = int((~torch.isfinite(weight)).sum())
    if bad:
        raise ModelError(
            f"{path}: {name} holds {bad} NaN or infinite values of {weight.numel()}. The training that saved "
            "it failed, or the file is damaged: take another checkpoint."
        )
    return weight.detach().to(torch.float32).contiguous()


def _own_name(name: str) -> str:
    """Rename the weights of plain torch attention to those of the fused one, which ours has."""
    return name.replace("self_attn.in_proj_", "self_attn.Wqkv.")


def _shape(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape)) or "no array"


def _list(what: str, names: Sequence[str]) -> str:
    if not names:
        return ""
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{what}: {', '.join(names[:_SHOWN])}{more}"
