"""Measure a classification of recordings: top-1, as of images."""

from __future__ import annotations

from utils.tasks.classification.measure import Measure

__all__ = ["Measure"]
