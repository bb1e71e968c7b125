"""Model files of strangers: where they lie, what a folder must hold, and how they are read without being run."""
