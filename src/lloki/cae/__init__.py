"""LLOKI-CAE: one conditional autoencoder turns the embeddings of all slices into a batch-free one."""

from lloki.cae.config import CAEConfig
from lloki.cae.model import CAEModel
from lloki.cae.train import train

__all__ = ["CAEConfig", "CAEModel", "train"]
