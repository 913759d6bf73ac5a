r"""How much a pose speaks for itself: the evidence that two slices' images agree.

For two stationary Gaussian images with correlation :math:`\rho` in a common area of :math:`N` independent
observations, :math:`-\tfrac{N}{2}\log(1-\rho^2)` is the logarithm of the likelihood ratio against no
relation. Channels of one band are pooled into one correlation, bands are summed. Bigger common areas with the
same correlation say more, and so do finer bands, in which there are more independent observations; no weight
between correlation and overlap has to be chosen.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from lloki.align.fields import Fields, autocorrelation

Doubles = NDArray[np.float64]

_LEAST_POWER = 0.2  # of the mean: an area where nothing varies must not make a correlation of noise


@dataclass(frozen=True, eq=False)
class Weighing:
    """How the images of two slices count.

    Attributes
    ----------
    weight
        (B, K) float32, of each image: the product of both slices' reliabilities.
    independent
        (B,) independent observations per pixel of common area.
    area
        (B, K) pixels that an independent observation of each image takes up.
    """

    weight: NDArray[np.float32]
    independent: Doubles
    area: Doubles

    @classmethod
    def of(cls, weight: Doubles, area: Doubles) -> Weighing:
        """Count what is independent in images of these weights."""
        independent = weight.sum(1) ** 2 / np.maximum((weight**2 * area).sum(1), 1e-12)
        return cls(weight.astype(np.float32), independent, area)

    def without(self, channel: int) -> Weighing:
        """Weigh the same images, but for one channel's."""
        weight = self.weight.astype(np.float64)
        weight[:, channel] = 0
        return Weighing.of(weight, self.area)


def weigh(fixed: Fields, moving: Fields) -> Weighing:
    r"""Weigh images by how reliable they are, and count what is independent in them.

    The sum of products of two unrelated images has the variance of as many independent observations as areas
    :math:`A = \sum_h r_f(h)\, r_m(h)` fit into the common area, with both images' autocorrelations r
    (Bartlett's formula in the plane). Pooled with weights w, that is
    :math:`(\sum w)^2 / \sum w^2 A` per pixel.
    """
    weight = fixed.reliability * moving.reliability
    (first, count), (second, other) = autocorrelation(fixed), autocorrelation(moving)
    reach = min(len(count), len(other))
    both = first[..., :reach] * second[..., :reach]
    area = np.maximum((both * count[:reach]).sum(2), 1.0)  # (B, K) pixels
    return Weighing.of(weight, area)


def evidence(
    products: NDArray, fixed_power: NDArray, moving_power: NDArray, pixels: NDArray, weighing: Weighing
) -> NDArray:
    """Log-likelihood ratio of a pose, or of a map of them.

    Parameters
    ----------
    products, fixed_power, moving_power
        (B, …) weighted sums over channels and common pixels: of both images' products, and of their squares.
    pixels
        (…) common pixels.
    weighing
        Of the two slices.

    Returns
    -------
    (B, …) for each band; a negative correlation counts against a pose. They are to be summed.
    """
    ones = (1,) * (products.ndim - 1)
    usual = weighing.weight.sum(1, dtype=products.dtype).reshape(-1, *ones) * pixels
    floor = _LEAST_POWER * usual + 1e-6
    rho = products / np.sqrt(np.maximum(fixed_power, floor) * np.maximum(moving_power, floor))
    rho = np.clip(rho, -0.99, 0.99)
    independent = weighing.independent.astype(products.dtype).reshape(-1, *ones) * pixels
    return -0.5 * np.log1p(-(rho**2)) * np.sign(rho) * independent


def z_score(ratio: float) -> float:
    """Evidence as the normal deviate with that likelihood ratio: the square root of twice its value."""
    return float(np.sqrt(2 * max(ratio, 0.0)))
