from __future__ import annotations

import io
import pickle
import pickletools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from factory.export import pickles
from factory.untrusted import Unsafe, inert
from tests.support.exports import Harm

scalars = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
plain = st.recursive(scalars, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def dumps(value: object) -> bytes:
    return b"".join(pickles.dump(value))


@given(plain)
def test_plain_data_come_back(value: object) -> None:
    assert pickle.loads(dumps(value)) == value == inert.loads(dumps(value))[0]


@given(arrays.arrays(st.sampled_from(["f4", "f8", "i8", "?", "U3"]), arrays.array_shapes(min_dims=0, min_side=0)))
def test_arrays_come_back_and_can_be_written_to(array: np.ndarray) -> None:
    back = pickle.loads(dumps({"a": array}))["a"]
    assert type(back) is np.ndarray and back.dtype == array.dtype and back.shape == array.shape and back.flags.writeable
    np.testing.assert_array_equal(back, array)
    assert type(back.copy()) is np.ndarray  # 0-d too, where a numpy scalar would have done


def test_only_names_that_every_numpy_has() -> None:
    data = dumps([{"a": np.eye(3), "b": np.array(1)}])
    named = {argument for opcode, argument, _ in pickletools.genops(data) if "GLOBAL" in opcode.name}
    assert named == {"numpy ndarray", "builtins bytearray"}
    new = pickle.dumps(np.eye(3))
    assert inert.loads(new)[1] == {"numpy", "numpy._core.multiarray"} if np.__version__ > "2" else True


def test_a_stream_is_as_the_array() -> None:
    array = np.arange(12, dtype=np.float32).reshape(4, 3)
    stream = pickles.Stream(array.shape, array.dtype, (row.tobytes() for row in array))
    assert dumps({"a": stream}) == dumps({"a": array})
    whole = pickle.loads(b"".join(pickles.dump_object({"a": array})))
    assert whole.shape == () and whole.dtype == object and set(whole.item()) == {"a"}


@pytest.mark.parametrize("protocol", range(2, 6))
def test_numpys_own_pickles_are_read(protocol: int) -> None:
    value = {"a": np.eye(3, dtype=np.float32), "b": np.float64(2), "c": np.array(True), "d": np.array([{"e": 1}])}
    back, _ = inert.loads(pickle.dumps(value, protocol))
    np.testing.assert_array_equal(back["a"], value["a"])
    assert back["b"] == 2 and back["c"].shape == () and back["d"][0] == {"e": 1}


def test_nothing_that_a_pickle_names_is_run(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(Unsafe, match="system"):
        inert.loads(pickle.dumps([Harm()]))
    assert "harm" not in capfd.readouterr().out


def test_objects_are_no_plain_data() -> None:
    for value in (object(), np.array([object()]), io.BytesIO()):
        with pytest.raises(TypeError):
            dumps(value)


class Call:
    """Pickled as a call of the function."""

    def __init__(self, function: object, *arguments: object) -> None:
        self.call = function, arguments

    def __reduce__(self) -> tuple:
        return self.call


@pytest.mark.parametrize(
    "value",
    [
        Call(bytearray, 10**10),
        Call(np.ndarray, (10**10,)),
        Call(np.ndarray, (10**10,), "f8"),
        Call(np.ndarray, (10**10,), "f8", bytearray(8), 0, (0,)),
        Call(np.array, [1], "V10000000000"),
        Call(np.zeros, 10**10),
    ],
)
def test_a_pickle_makes_nothing_larger_than_itself(value: object) -> None:
    with pytest.raises((Unsafe, TypeError, ValueError)):
        inert.loads(pickle.dumps([value]))
