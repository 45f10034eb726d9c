"""How unlike the training sounds one is: the distance to its nearest among some of them.

Nearest neighbours in a network's features (Y. Sun et al. 2022, "Out-of-distribution detection with
deep nearest neighbors"). A network maps much of what it has never seen to features that it knows.
So its image, coarsely, and its standardised auxiliary features count beside the features; and of
features and image both the principal components and what these leave over, which foreign sounds
have most of. The components are not whitened: that would enlarge noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from src.calibration.conformal import p_values

NEIGHBOURS = 2
SAMPLES = 2048  # of the training split, at most
COMPONENTS = 16  # of the features, and of the image
MOST_PIXELS = 1024  # of the coarse image
AUXILIARY_WEIGHT, AUXILIARY_MOST = 0.5, 3.0  # of a feature, and standard deviations of it
LEAST_DEVIATION = 1e-3  # of a component, as a share of the first one's
P_UNLIKE: Final = 0.01  # a sound with a smaller p-value is called unlike
# The tensors of a block (features or image): mean, components divided by the first one's
# deviation, and the deviation of what they leave over, all in float16.
BLOCKS = ("features", "image")
PARTS = ("mean", "basis", "scales")

Tensors = dict[str, Tensor]


def cell(image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the height and width of the cells that make an image of shape (C, H, W) coarse.

    Example:
        >>> cell((1, 32, 32)), cell((3, 64, 48))
        ((1, 1), (3, 3))
    """
    channels, height, width = image_shape
    rows = columns = 1
    while channels * (height // rows) * (width // columns) > MOST_PIXELS:
        if height // rows >= width // columns and rows < height:
            rows += 1
        elif columns < width:
            columns += 1
        else:
            break
    return rows, columns


class Unlike(nn.Module):
    """p-values of being like the training sounds.

    Args:
        tensors: By name, as :func:`fit_unlike` gives them.
        image_shape: (C, H, W) of the prepared images.
        count: Samples of the validation split that the distances are of.
    """

    bank: Tensor
    squares: Tensor
    distances: Tensor
    table: Tensor

    def __init__(
        self, tensors: Mapping[str, Tensor], image_shape: tuple[int, int, int], count: int
    ) -> None:
        super().__init__()
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor.float(), persistent=False)
        self.register_buffer("squares", self.bank.square().sum(dim=1), persistent=False)
        self.register_buffer("table", p_values(count, len(self.distances)), persistent=False)
        self.cell = cell(image_shape)

    def describe(
        self,
        pixels: Float[Tensor, "B N"],
        features: Float[Tensor, "B F"],
        auxiliary: Float[Tensor, "B A"] | None,
    ) -> Float[Tensor, "B D"]:
        """Return what sounds are compared by, of coarse images; see :meth:`forward`."""
        columns = [*self._block("features", features), *self._block("image", pixels)]
        if auxiliary is not None:
            near = auxiliary.float().clamp(-AUXILIARY_MOST, AUXILIARY_MOST)
            columns.append(AUXILIARY_WEIGHT * near)
        return torch.cat(columns, dim=1)

    def distance(
        self,
        images: Float[Tensor, "B C H W"],
        features: Float[Tensor, "B F"],
        auxiliary: Float[Tensor, "B A"] | None = None,
    ) -> Float[Tensor, " B"]:
        """Return the mean distance to the nearest training sounds; arguments as :meth:`forward`.

        Squares by ``‖a − b‖² = ‖a‖² + ‖b‖² − 2a·b``, which is one product of matrices.
        """
        described = self.describe(coarse(images, self.cell), features, auxiliary)
        squares = described.square().sum(1, keepdim=True) + self.squares
        squares = squares - 2.0 * described @ self.bank.T
        nearest = squares.topk(min(NEIGHBOURS, len(self.bank)), dim=1, largest=False).values
        return nearest.clamp(min=0.0).sqrt().mean(dim=1)

    def forward(
        self,
        images: Float[Tensor, "B C H W"],
        features: Float[Tensor, "B F"],
        auxiliary: Float[Tensor, "B A"] | None = None,
    ) -> Float[Tensor, " B"]:
        """Compute the p-value of each sound: the share of own ones that are as far away.

        Images are prepared, features the network's last ones, auxiliary features standardised.
        """
        far = self.distance(images, features, auxiliary)
        below = (self.distances < far[:, None]).sum(dim=1)
        return self.table[below]

    def _block(self, name: str, values: Float[Tensor, "B N"]) -> tuple[Tensor, Tensor]:
        """Return the principal components and the length of the rest, in their own units."""
        mean, basis, scales = (getattr(self, f"{name}_{part}") for part in PARTS)
        centred = values.float() - mean
        inside = centred @ basis
        rest = (centred - inside @ basis.T).square().sum(dim=1, keepdim=True).sqrt()
        return inside / scales[0], rest / scales[1]


def coarse(images: Float[Tensor, "B C H W"], size: tuple[int, int]) -> Float[Tensor, "B N"]:
    """Return the means of cells; rows and columns that fill none are left out."""
    return F.avg_pool2d(images.float(), size).flatten(1)


def _fit_block(values: Float[Tensor, "N D"], name: str) -> Tensors:
    """Find the first principal components of values."""
    wide = values.double()
    mean = wide.mean(dim=0)
    centred = wide - mean
    count = min(COMPONENTS, *wide.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # Halko, Martinsson & Tropp (2011): all components would take seconds.
        _, lengths, vectors = torch.svd_lowrank(centred, min(2 * count, *wide.shape), niter=6)
    deviations = lengths[:count] / len(wide) ** 0.5
    first = float(deviations[0]) or 1.0
    count = max(1, int((deviations > LEAST_DEVIATION * first).sum()))
    basis = vectors[:, :count].half()
    inside = centred @ basis.double()
    rest = (centred - inside @ basis.double().T).square().sum(dim=1).mean().sqrt()
    scales = torch.tensor([first, max(float(rest), LEAST_DEVIATION * first)])
    parts = {"mean": mean.float(), "basis": basis, "scales": scales}
    return {f"{name}_{part}": tensor for part, tensor in parts.items()}


def fit_unlike(
    image_shape: tuple[int, int, int],
    pixels: Float[Tensor, "N D"],
    features: Float[Tensor, "N F"],
    auxiliary: Float[Tensor, "N A"] | None,
) -> Tensors:
    """Find the tensors of :class:`Unlike` but `distances`, which are of other samples.

    Args:
        image_shape: (C, H, W) of the prepared images.
        pixels: Training samples' :func:`coarse` images.
        features: The network's last features of them.
        auxiliary: Their standardised auxiliary features, if there are any.
    """
    tensors = _fit_block(features, "features") | _fit_block(pixels, "image")
    none = torch.zeros(1)
    made = Unlike({**tensors, "bank": none[None], "distances": none}, image_shape, 1)
    return {**tensors, "bank": made.describe(pixels, features, auxiliary).half()}
