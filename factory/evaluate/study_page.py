"""The page of one rater: HTML with script, style and images inside, which asks nothing of any server."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

TEMPLATE, SCRIPT, STYLE = "study.html.j2", "study.js", "study.css"


def page(study: str, rater: int, pairs: Sequence[tuple[str, str]]) -> Iterator[str]:
    """The page in parts. study: its id. pairs: the (first, second) image of each trial as data URIs, in the order in
    which they are shown. Nothing in the page tells initial from final images but the images themselves.

    A content security policy lets the browser run the page's own script and nothing else, and load nothing.
    """
    from jinja2 import Environment
    from markupsafe import Markup

    script, style = _beside(SCRIPT), _beside(STYLE)
    policy = (
        f"default-src 'none'; img-src data:; script-src '{_hash(script)}'; style-src '{_hash(style)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_beside(TEMPLATE)).generate(
        policy=Markup(policy),  # its quotes are the browser's
        about={"study": study, "rater": rater, "count": len(pairs)},
        pairs=pairs,
        rater=rater,
        count=len(pairs),
        script=Markup(script),
        style=Markup(style),
    )


def _hash(content: str) -> str:
    """As a content security policy names an inline script or style: everything between its tags."""
    return "sha256-" + base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()


@cache
def _beside(name: str) -> str:
    return Path(__file__).with_name(name).read_text("utf-8")
