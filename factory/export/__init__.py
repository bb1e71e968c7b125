"""A finished data set in the layout that a trainer reads: one file per format, each from its loader's own demands."""
