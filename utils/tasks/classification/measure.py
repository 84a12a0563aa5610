"""Measure a classification: top-1."""

from __future__ import annotations

from utils.tasks.labelled import Measure

__all__ = ["Measure"]
