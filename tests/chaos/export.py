"""An export to be disturbed: `python -m tests.chaos.export OUT TO FORMAT WORKERS`. It has many small steps, and tells
in a line of its own how many images are done."""

from __future__ import annotations

import sys

from factory.export import hmr2
from factory.export import run as exporting

if __name__ == "__main__":
    hmr2.PIECE, exporting.PIECE, exporting.STEP = 12, 12, 4
    out, to, kind, workers = sys.argv[1:]
    exporting.export(out, to, kind, workers=int(workers), on_piece=lambda done, total: print(done, flush=True))
