"""Pose priors: how far a pose is from everyday ones."""
