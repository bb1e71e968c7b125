"""A hash of all that a scene follows from, so that a cache of scenes of another world is noticed.

It covers the code without comments and docstrings, and the body file: a reworded comment leaves caches valid, a changed
number does not.
"""

from __future__ import annotations

import ast
import hashlib
from pathlib import Path

from factory.weights.locate import resolve

PACKAGE = Path(__file__).parents[2]  # the folder of `factory`
START = "factory.starter.world.scene"
# Hash of code that was only moved -> the hash of the code that drew the same scenes before, which caches bear.
SAME_SCENES = {"8f5a8f896fe87fef": "001f121554c37f2e"}
ROOMS = ("factory.starter.world", "factory.geometry")  # what other modules do to a scene shows in the body file


def world_hash(package: Path = PACKAGE, body: str | Path = "starter:body") -> str:
    """16 hex digits of the modules that `scene` reaches by imports within ROOMS, and of the body's file.

    package: the folder of `factory`, or of a copy of it.
    """
    digest = hashlib.blake2b(digest_size=8)
    for module, tree in sorted(_reached(package).items()):
        digest.update(f"{module} {_plain(tree)!r}\n".encode())
    digest.update(Path(resolve(body)).read_bytes())
    return SAME_SCENES.get(digest.hexdigest(), digest.hexdigest())


def _reached(package: Path) -> dict[str, ast.Module]:
    """Name -> syntax tree of START and of the modules in ROOMS that it imports, directly or by way of others."""
    trees: dict[str, ast.Module] = {}
    waiting = [START]
    while waiting:
        name = waiting.pop()
        file = package.joinpath(*name.split(".")[1:]).with_suffix(".py")
        if name in trees or not file.is_file():
            continue
        trees[name] = ast.parse(file.read_text(encoding="utf-8"))
        waiting += [found for found in _imports(trees[name]) if found.startswith(ROOMS)]
    return trees


def _imports(tree: ast.Module) -> list[str]:
    """What a module imports, by full names; `from a import b` may mean the module a or a.b, so both are given."""
    names = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names += [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return names


def _plain(node: object) -> object:
    """A syntax tree as nested lists, without docstrings and without the empty fields that some Python versions add."""
    if isinstance(node, ast.AST):
        fields = [[name, _plain(value)] for name, value in ast.iter_fields(node) if value not in (None, [])]
        return [type(node).__name__, *fields]
    if isinstance(node, list):
        return [_plain(item) for item in node if not _is_docstring(item)]
    return node


def _is_docstring(node: object) -> bool:
    """A statement that is nothing but a string: the docstring of a module, class, function or attribute."""
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)
