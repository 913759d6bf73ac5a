"""Figures that say how good an integration is."""

from lloki.evaluate.quality import mixing, preservation, quality
from lloki.evaluate.transfer import transfer_accuracy

__all__ = ["mixing", "preservation", "quality", "transfer_accuracy"]
