"""The figures of the starter pack, on scenes and seeds that no training used. See `evaluate`."""
