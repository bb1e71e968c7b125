"""MATLAB's files (level 5) of untrusted origin. SciPy reads them in a process of its own: a damaged file may crash
SciPy or make it allocate without end, and then only that process ends."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
from pathlib import Path

from factory.untrusted import Unreadable

MEMORY = 4 << 30  # bytes of address space for that process; MPII's own file takes a quarter of it
READ = """
import json, sys
from scipy.io import loadmat

acts = loadmat(sys.argv[1], struct_as_record=False, squeeze_me=True, variable_names=["RELEASE"])["RELEASE"].act
print(json.dumps([act.cat_name for act in acts if isinstance(act.cat_name, str)]))  # an image without an act has []
"""


def mpii_categories(path: Path) -> list[str]:
    """RELEASE.act.cat_name of mpii_human_pose_v1_u12_1.mat, one text for each image that has an activity. Unreadable:
    the file is none of that layout, is damaged, or takes more memory than MEMORY."""
    result = subprocess.run(
        [sys.executable, "-P", "-c", READ, str(path.absolute())],
        capture_output=True, text=True, stdin=subprocess.DEVNULL,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY)),
    )  # fmt: skip
    if result.returncode:
        lines = result.stderr.strip().splitlines()
        raise Unreadable(lines[-1] if result.returncode > 0 and lines else "damaged")
    return json.loads(result.stdout)
