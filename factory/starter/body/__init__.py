"""The open body: a human model in SMPL's file format that may be shipped, and the generator that made it.

`load()` reads the shipped file (numpy only); `python -m factory.starter.body.generate --out FILE` makes it anew.

Frame and units: metres, x to the person's left, y up, z to the front; T-pose, palms down. Sizes are SMPL's own (6890
vertices, 13776 faces, 24 joints, 10 betas, 207 pose correctives) and so are joint order and pose parameters, but the
vertices are another mesh: regressors made for SMPL mean nothing here, use `J_regressor` and `joint_regressor_extra`.
"""

from pathlib import Path

import numpy as np

WEIGHTS = Path(__file__).resolve().parent.parent / "weights" / "body" / "open_body.npz"


def load(path: str | Path | None = None) -> dict[str, np.ndarray]:
    """Read an open-body file; floats come back as float32 whatever they were stored as.

    path: an .npz as written by the generator; None means the shipped one.
    Returns the arrays by name, see `generate.py`; the model is
    `smplx.SMPL("", data_struct=smplx.utils.Struct(**load()))`.
    Raises FileNotFoundError when there is no such file.
    """
    with np.load(path or WEIGHTS, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    return {name: a.astype(np.float32) if a.dtype.kind == "f" else a for name, a in arrays.items()}
