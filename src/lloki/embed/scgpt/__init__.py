"""scGPT: embeddings of cells by a pretrained transformer, from checkpoint folders of the published form."""

from lloki.embed.scgpt.checkpoint import Checkpoint, read_checkpoint
from lloki.embed.scgpt.model import ScGPT
from lloki.embed.scgpt.tokens import bin_values

__all__ = ["Checkpoint", "ScGPT", "bin_values", "read_checkpoint"]
