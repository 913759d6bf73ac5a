"""LLOKI-CAE: a conditional autoencoder turns the embeddings of all slices into one batch-free embedding."""

from lloki.cae._train import sample_sizes, train
from lloki.cae.config import CAEConfig, CAEOptions
from lloki.cae.model import CAEModel
from lloki.cae.monitor import warnings_of
from lloki.cae.token import fit_token

__all__ = ["CAEConfig", "CAEModel", "CAEOptions", "fit_token", "sample_sizes", "train", "warnings_of"]
