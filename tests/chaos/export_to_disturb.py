"""An export to be disturbed, in many small steps; it tells in a line of its own how many images are done.

`python -m tests.chaos.export_to_disturb OUT TO FORMAT WORKERS`
"""

from __future__ import annotations

import sys

from factory.export import hmr2
from factory.export import run as exporting

if __name__ == "__main__":
    hmr2.PIECE, exporting.PIECE, exporting.STEP = 12, 12, 4
    out, to, kind, workers = sys.argv[1:]
    exporting.export(out, to, kind, workers=int(workers), on_piece=lambda done, total: print(done, flush=True))
