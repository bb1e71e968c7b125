"""A distributed batch factory for human-mesh-recovery training data: one job file in, image + SMPL shards out."""

__version__ = "0.1.0"
