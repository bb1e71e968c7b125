"""The open body: a human model in SMPL's file format with a free licence, and the generator that made it.

`load_body()` reads the shipped file with NumPy alone; `python -m factory.starter.body.generate --out FILE` makes it.

Frame and units: metres, x to the person's left, y up, z to the front; T-pose, palms down. The body has SMPL's sizes
(6890 vertices, 13776 faces, 24 joints, 10 betas, 207 pose correctives), joint order and pose parameters, but its mesh
is another one. A regressor made for SMPL's vertices therefore gives wrong joints here: use the file's own `J_regressor`
and `joint_regressor_extra`.
"""

from pathlib import Path

import numpy as np

OPEN_BODY = Path(__file__).resolve().parent.parent / "weights" / "body" / "open_body.npz"


def load_body(path: str | Path | None = None) -> dict[str, np.ndarray]:
    """Read an open-body file. Floats are returned as float32, whatever they were stored as.

    path: an .npz as the generator writes it; None for the shipped file. Returns the arrays by name, see
    `generate.save`; `smplx.SMPL("", data_struct=smplx.utils.Struct(**load_body()))` is the model.

    Raises FileNotFoundError where there is no such file.
    """
    with np.load(path or OPEN_BODY, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {name: a.astype(np.float32) if a.dtype.kind == "f" else a for name, a in arrays.items()}
