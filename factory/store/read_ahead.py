"""Reads many objects one after the other, some of them ahead of time where each is a request to an object store."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from factory.store.fs import Files, LocalFiles

REQUESTS = 16  # under way at once, to an object store
READ_AHEAD = 2**28  # bytes that may be read before they are asked for
Task = TypeVar("Task")
Result = TypeVar("Result")


def in_order(
    read: Callable[[Task], Result], tasks: Iterable[Task], files: Files, size: Callable[[Task], int]
) -> Iterator[Result]:
    """read(task) for each task, in their order. `size` says how many bytes a result takes.

    Of an object store, up to REQUESTS are read at once, and results of up to READ_AHEAD bytes wait to be taken."""
    if isinstance(files, LocalFiles):
        yield from map(read, tasks)
        return
    pool = ThreadPoolExecutor(REQUESTS)
    waiting: deque[tuple[int, Future[Result]]] = deque()
    held = 0
    try:
        for task in tasks:
            while waiting and (len(waiting) >= 4 * REQUESTS or held + size(task) > READ_AHEAD):
                taken, future = waiting.popleft()
                held -= taken
                yield future.result()
            waiting.append((size(task), pool.submit(read, task)))
            held += size(task)
        while waiting:
            yield waiting.popleft()[1].result()
    finally:
        pool.shutdown(cancel_futures=True)
