"""Augmentation: more training inputs than there are, made of those by chance."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

__all__ = ["shift_images"]


def shift_images(images: npt.NDArray[np.uint8], most: int, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """Move each image by up to ``most`` pixels to each side; what comes in at the edge is 0.

    Args:
        images: uint8, shape (N, height, width, channels).
        most: pixels, less than height and width.
        rng: draws two whole numbers an image.

    Returns:
        A copy of the same shape.
    """
    _, height, width, _ = images.shape
    moves = rng.integers(-most, most + 1, (len(images), 2))
    moved = np.zeros_like(images)
    for down, right in np.unique(moves, axis=0):  # a few moves for many images: each is one slice
        chosen = np.flatnonzero((moves == (down, right)).all(axis=1))
        rows, columns = _overlap(height, int(down)), _overlap(width, int(right))
        part = np.zeros((len(chosen), *images.shape[1:]), np.uint8)
        part[:, rows[0], columns[0]] = images[chosen][:, rows[1], columns[1]]
        moved[chosen] = part
    return moved


def _overlap(size: int, move: int) -> tuple[slice, slice]:
    """Where the rows that stay inside come to lie, and where they were."""
    return slice(max(move, 0), size + min(move, 0)), slice(max(-move, 0), size + min(-move, 0))
