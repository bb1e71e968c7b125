"""Does the steps of an experiment that are not done yet. A step that cannot be done blocks those that need it, and the
others go on."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from factory.errors import UserError
from factory.experiment.steps import Experiment, Step
from factory.present.words import duration

Say = Callable[[str], None]


@dataclass
class Outcome:
    """What a run has left. blocked: step -> why it cannot be done; elsewhere: steps that another process works on;
    done: how many were done now."""

    blocked: dict[str, str] = field(default_factory=dict)
    elsewhere: list[str] = field(default_factory=list)
    done: int = 0


def chosen_steps(experiment: Experiment, names: Sequence[str] = (), part: tuple[int, int] = (1, 1)) -> list[Step]:
    """The steps that the names stand for; without names all. A name is a step's, or the beginning of some (`ours` for
    ours/share-100/seed-0), or a pattern such as `*/seed-0`. part (i, n): the i-th of n parts of the table's cells.
    UserError: a name that fits no step."""
    steps = list(experiment.steps)
    if names:
        for name in names:
            if not any(_fits(step.name, name) for step in steps):
                first = ", ".join(step.name for step in steps[:8])
                raise UserError(f"--cell {name}: no step is called so; there are {first}{', ...' * (len(steps) > 8)}")
        steps = [step for step in steps if any(_fits(step.name, name) for name in names)]
    number, count = part
    cells = [step for step in steps if step.cell]
    mine = {step.name for i, step in enumerate(cells) if i % count == number - 1}
    needed = {need for step in cells if step.name in mine for need in step.needs} | {
        need for step in steps if step.name in mine for need in _all_needs(experiment, step)
    }
    return [step for step in steps if step.name in mine or (not step.cell and (count == 1 or step.name in needed))]


def _all_needs(experiment: Experiment, step: Step) -> set[str]:
    by_name = {each.name: each for each in experiment.steps}
    return {name for need in step.needs for name in (need, *_all_needs(experiment, by_name[need]))}


def _fits(step: str, name: str) -> bool:
    return step == name or step.startswith(f"{name}/") or fnmatchcase(step, name)


def run_experiment(experiment: Experiment, steps: Sequence[Step], say: Say) -> Outcome:
    """Do the steps that are not done, in order. Steps of data wait for a process that makes the same; cells that
    another process works on are left to it. UserError: a result of other settings is in the way."""
    workspace, outcome = experiment.workspace, Outcome()
    open_steps = [step for step in steps if workspace.result(step.name, step.asked) is None]
    if len(open_steps) < len(steps):
        say(f"{len(steps) - len(open_steps):,} of {len(steps):,} steps are done already.")
    spent: list[float] = []
    for number, step in enumerate(open_steps, 1):
        why = _blocked(experiment, step, outcome)
        if why:
            if why not in outcome.blocked.values():
                say(f"{step.name} cannot be done: {why}")
            outcome.blocked[step.name] = why
            continue
        left = _left(spent, len(open_steps) - number + 1) if step.cell else ""
        with workspace.claim(step.name, wait=step.cell is None) as mine:
            if not mine:
                outcome.elsewhere.append(step.name)
                continue
            if workspace.result(step.name, step.asked) is not None:  # another process was faster
                continue
            say(f"[{number}/{len(open_steps)}] {step.title}{left}")
            begun = time.monotonic()
            try:
                figures = step.make(workspace.step(step.name))
            except UserError as error:
                outcome.blocked[step.name] = str(error)
                say(f"cannot be done: {error}")
                continue
            seconds = time.monotonic() - begun
            workspace.finish(step.name, step.asked, seconds, figures)
            outcome.done += 1
            if step.cell:
                spent.append(seconds)
    return outcome


def _blocked(experiment: Experiment, step: Step, outcome: Outcome) -> str:
    """Why the step cannot be done now; empty: it can."""
    by_name = {each.name: each for each in experiment.steps}
    for need in step.needs:
        if need in outcome.blocked:
            return outcome.blocked[need]
        if experiment.workspace.result(need, by_name[need].asked) is None:
            return f"{need} is not made yet: --cell {need} makes it"
    return ""


def _left(spent: list[float], count: int) -> str:
    """How long the cells to come take, after those that were computed."""
    return f" (about {duration(count * sum(spent) / len(spent))} left)" if spent else ""
