"""The house: which room may import which, how long a file may be, and what a name stands for.

Every module of factory/ is read as a syntax tree; nothing is imported.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from collections.abc import Iterator
from functools import cache
from graphlib import CycleError, TopologicalSorter

from tests.support.command import ROOT

# Rooms (folders) and single modules of factory/, from the ground up. Each may import what stands in a line above its
# own, here; those of one line do not import each other.
FLOORS = """
errors home metrics
untrusted
prompts
job_stages
job
record config
weights
geometry
models
sources
plan
stages
store
engine
present
loader export training labelled
doctor
api evaluate finetune
starter
experiment
schema
cli
__init__
"""
FLOOR = {name: height for height, line in enumerate(FLOORS.strip().splitlines()) for name in line.split()}
LINES = 400  # of a file, at most
WITHOUT_RAY = ("stages", "models", "geometry", "weights")  # they must run in any process; only engine knows Ray


@cache
def trees() -> dict[str, ast.Module]:
    """Module, such as factory.store.part -> its syntax tree."""
    found = {}
    for path in sorted((ROOT / "factory").rglob("*.py")):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        found[name] = ast.parse(path.read_text("utf-8"), str(path))
    return found


def room(module: str) -> str:
    """factory.store.part -> store; factory.plan -> plan; factory -> __init__."""
    return [*module.split("."), "__init__"][1]


@cache
def imports(module: str) -> list[tuple[int, str, str]]:
    """(line, module, name) of all that a module imports, inside functions too; name: empty for a whole module."""
    found = []
    for node in ast.walk(trees()[module]):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                found.append((node.lineno, *((whole, "") if whole in trees() else (node.module, alias.name))))
    return found


def own_imports(module: str) -> Iterator[tuple[int, str, str]]:
    """Those of `imports` that lead to another module of factory/."""
    return ((line, other, name) for line, other, name in imports(module) if other in trees() and other != module)


def test_every_room_has_its_floor():
    assert {room(module) for module in trees()} - FLOOR.keys() == set(), "say in FLOORS above what it may stand"


def test_no_import_leads_up():
    upwards = [
        f"{module}:{line} imports {other}"
        for module in trees()
        for line, other, _ in own_imports(module)
        if room(other) != room(module) and FLOOR[room(other)] >= FLOOR[room(module)]
    ]
    assert upwards == []


def test_no_modules_import_each_other_in_a_circle():
    graph = {module: {other for _, other, _ in own_imports(module)} for module in trees()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(" -> ".join(reversed(error.args[1]))) from None


def test_no_file_is_too_long_to_read_in_one_go():
    counts = {path: len(path.read_bytes().splitlines()) for path in (ROOT / "factory").rglob("*.py")}
    assert {str(path.relative_to(ROOT)): count for path, count in counts.items() if count > LINES} == {}


def test_a_public_class_has_a_name_of_its_own():
    owners: dict[str, list[str]] = defaultdict(list)
    for module, tree in trees().items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                owners[node.name].append(module)
    assert {name: several for name, several in owners.items() if len(several) > 1} == {}


def test_a_name_that_is_imported_by_itself_means_one_thing():
    """Names that stand alone where they are used. Others follow their module: `text.loads`, `inert.loads`."""
    owners: dict[str, set[str]] = defaultdict(set)
    for module in trees():
        for _, other, name in own_imports(module):
            if name:
                owners[name].add(other)
    assert {name: several for name, several in owners.items() if len(several) > 1} == {}


def test_what_is_private_stays_in_its_module():
    leaks = []
    for module, tree in trees().items():
        whole = {name.rpartition(".")[2] for _, name, part in own_imports(module) if not part}
        leaks += [
            f"{module}:{line} imports {other}.{name}" for line, other, name in own_imports(module) if name[:1] == "_"
        ]
        leaks += [
            f"{module}:{node.lineno} reads {node.value.id}.{node.attr}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in whole
            if node.attr.startswith("_") and not node.attr.startswith("__")
        ]
    assert leaks == []


def test_only_the_engine_knows_ray():
    strangers = [
        f"{module}:{line} imports {name}"
        for module in trees()
        if room(module) in WITHOUT_RAY
        for line, name, _ in imports(module)
        if name.split(".")[0] == "ray"
    ]
    assert strangers == []
    elsewhere = {room(module) for module in trees() for _, name, _ in imports(module) if name.split(".")[0] == "ray"}
    assert elsewhere <= {"engine"}


def test_a_name_is_imported_from_the_module_that_defines_it():
    """An import by way of a third module hides what depends on what."""
    borrowed = {
        module: {
            alias.asname or alias.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module in trees()
            for alias in node.names
        }
        for module, tree in trees().items()
    }
    detours = [
        f"{module}:{line} imports {name} from {other}"
        for module in trees()
        for line, other, name in own_imports(module)
        if name in borrowed[other]
    ]
    assert detours == []
