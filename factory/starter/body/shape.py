"""The shape space: the principal components of a population in one pose."""

import numpy as np

COMPONENTS = 10


def shape_space(vertices: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """vertices (n, v, 3) m of people in the same pose -> mean (v, 3), components (v, 3, 10), and the share of the
    variance that they explain.

    Components are in metres per unit of beta, largest first, and scaled so that the betas of the population have unit
    variance. Positive betas make the body taller (component 0: taller and heavier).

    Raises ValueError for fewer than 11 people.
    """
    people = len(vertices)
    if people <= COMPONENTS:
        raise ValueError(f"{people} people cannot span {COMPONENTS} shape components")
    mean = vertices.mean(0)
    _, values, rows = np.linalg.svd((vertices - mean).reshape(people, -1), full_matrices=False)
    variance = values**2
    components = (rows[:COMPONENTS] * values[:COMPONENTS, None] / np.sqrt(people - 1)).reshape(COMPONENTS, *mean.shape)
    top, bottom = mean[:, 1].argmax(), mean[:, 1].argmin()
    growth = components[:, top, 1] - components[:, bottom, 1]
    components *= np.where(growth < 0, -1, 1)[:, None, None]
    return mean, np.moveaxis(components, 0, -1), float(variance[:COMPONENTS].sum() / variance.sum())
