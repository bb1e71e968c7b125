"""Pose priors: how far a pose is from everyday ones. `base` is the protocol, `choice` what a job names."""
