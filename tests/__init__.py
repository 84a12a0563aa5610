"""Tests of nxp-model-zoo; the files mirror those of utils/."""
