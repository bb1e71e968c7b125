"""Estimators of bodies: an image in, SMPL parameters of its people out."""
