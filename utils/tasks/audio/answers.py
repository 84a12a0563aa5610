"""Check the answers of a bundle: the samples, and the best label of each example recording."""

from __future__ import annotations

from utils.tasks.labelled import Answers

__all__ = ["Answers"]
