"""Image files of untrusted origin: no decoder that runs another program sees them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from factory.untrusted import Unreadable
from factory.untrusted.pictures import picture_size


def test_a_file_that_would_run_ghostscript_is_no_image(tmp_path: Path, monkeypatch) -> None:
    """Pillow would give an EPS file to `gs`, whatever the file is called."""
    ran, command = tmp_path / "ran", tmp_path / "bin" / "gs"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ntouch {ran}\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}{os.pathsep}{os.environ['PATH']}")
    image = tmp_path / "a.jpg"
    image.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\nshowpage\n")
    with pytest.raises(Unreadable):
        picture_size(image)
    assert not ran.exists()
