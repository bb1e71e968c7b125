"""What the bytes of a sample depend on beside the job: the versions of libraries, and the kind of processor."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path

import torch

LIBRARIES = ("torch", "numpy", "diffusers", "transformers", "pillow", "scipy")


def environment() -> dict[str, str]:
    """Name -> value of everything that may change the bytes of a data set made on the CPU."""
    cpu = [line.partition(": ")[2] for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line]
    return {
        **{name: version(name) for name in LIBRARIES},
        "machine": platform.machine(),
        "cpu": cpu[0] if cpu else "unknown",
        "vector instructions": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
    }
