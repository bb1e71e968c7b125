"""Detectors: an image in, masks of its people and objects out."""
