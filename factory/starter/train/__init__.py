"""Training of the starter pack on the rendered world: one script per model, on CPU or CUDA, resumed by a rerun."""
