"""A stage that cannot be set up says why, as far as anybody knows."""

from __future__ import annotations

import pytest

from factory.config import validate
from factory.engine.worker import Worker
from factory.errors import UserError
from factory.stages.base import Stage


class Loader(Stage):
    """A stage whose loader fails."""

    name = "generate"
    error: Exception

    def setup(self) -> None:
        try:
            raise self.error
        except Exception as error:
            raise UserError("HMR model x does not fit its config") from error

    def process(self, records) -> None: ...


@pytest.mark.parametrize(
    "error", [MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried ...")]
)
def test_short_memory_is_not_taken_for_a_fault_of_the_weights(values, error):
    kind = type("Short", (Loader,), {"error": error})
    with pytest.raises(UserError, match="stages.generate cannot start: there is not enough memory"):
        Worker(kind, validate(values))


def test_a_fault_of_the_weights_stays_one(values):
    kind = type("Wrong", (Loader,), {"error": RuntimeError("size mismatch")})
    with pytest.raises(UserError, match="does not fit"):
        Worker(kind, validate(values))
