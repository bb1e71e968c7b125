"""Training of the starter pack on the rendered world: a module for each model, on CPU or CUDA. See `run`."""
