"""Detectors: images in, masks of their people and objects out. `base` is the protocol, `choice` what a job names."""
