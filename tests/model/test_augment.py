"""Moved images: each by its own whole pixels, and nothing else about them changes."""

from __future__ import annotations

import numpy as np
import pytest

from utils.model.augment import shift_images


@pytest.mark.parametrize("most", [0, 1, 3])
def test_each_image_is_moved_and_filled_with_zeros(most: int) -> None:
    images = np.random.default_rng(0).integers(1, 256, (1000, 7, 9, 3)).astype(np.uint8)
    before = images.copy()
    moved = shift_images(images, most, np.random.default_rng(1))
    assert np.array_equal(images, before), "the images themselves stay for the next epoch"
    assert moved.shape == images.shape
    assert moved.dtype == np.uint8
    seen = set()
    for image, found in zip(images, moved, strict=True):
        wide = np.pad(image, ((most, most), (most, most), (0, 0)))
        moves = [
            (down, right)
            for down in range(-most, most + 1)
            for right in range(-most, most + 1)
            if np.array_equal(wide[most - down :][:7, most - right :][:, :9], found)
        ]
        assert len(moves) == 1, "it is the image, at one place"
        seen.add(moves[0])
    assert len(seen) == (2 * most + 1) ** 2, "every move comes up"


def test_the_same_seed_moves_alike() -> None:
    images = np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1)).astype(np.uint8)
    first, again = (shift_images(images, 2, np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, shift_images(images, 2, np.random.default_rng(6)))
