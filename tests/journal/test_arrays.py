"""NumPy's arrays and scalars are restored with dtype, shape and order, or refused."""

from typing import Any

import pytest

from kaygraph.errors import NotRecordableError
from kaygraph.journal.encoding import Encoding

numpy: Any = pytest.importorskip("numpy")

PADDED = numpy.dtype([("a", "i1"), ("b", "f8", (2,)), ("c", [("d", "U3")])], align=True)

ARRAYS: dict[str, Any] = {
    "numbers": numpy.arange(6.0).reshape(2, 3),
    "columns first": numpy.asfortranarray(numpy.arange(6).reshape(2, 3)),
    "every second": numpy.arange(10, dtype=">i2")[::2],
    "backwards": numpy.arange(5)[::-1],
    "no dimension": numpy.array(5),
    "no items": numpy.zeros((0, 3), "c8"),
    "no letters": numpy.array([], "U"),
    "text": numpy.array(["a", "é"]),
    "dates": numpy.array(["2024-01-01", "NaT"], "M8[us]"),
    "not a number": numpy.array([float("nan"), -0.0]),
    "structured": numpy.zeros(2, PADDED),
    "fields in another order": numpy.zeros(
        2, {"names": ["a", "b"], "formats": ["i4", "i4"], "offsets": [4, 0], "itemsize": 12}
    ),
}

SCALARS = [
    numpy.float64(1.5),
    numpy.int8(-3),
    numpy.bool_(True),
    numpy.str_("é"),
    numpy.bytes_(b""),
    numpy.datetime64("2024-01-01"),
    numpy.timedelta64("NaT", "s"),
    numpy.complex64(1j),
]

REFUSED: dict[str, Any] = {
    "objects": numpy.array([object()]),
    "a field of objects": numpy.zeros(1, [("a", "O")]),
    "long doubles": numpy.zeros(1, numpy.longdouble),
    "metadata": numpy.zeros(1, numpy.dtype("i4", metadata={"unit": "m"})),
    "records": numpy.rec.array([(1,)], dtype=[("a", "i4")]),
    "masked": numpy.ma.array([1]),
    "text that ends in zero": numpy.str_("a\x00"),
}


@pytest.mark.parametrize("array", ARRAYS.values(), ids=ARRAYS)
def test_arrays_come_back_as_they_were(array: Any) -> None:
    """Content, dtype, shape and order are the same, and it can be written to."""
    encoding = Encoding()
    back = encoding.decode(encoding.encode({"rows": [array]}, "it"))["rows"][0]
    assert type(back) is numpy.ndarray
    assert (back.dtype, back.shape, back.tobytes()) == (array.dtype, array.shape, array.tobytes())
    assert back.flags.f_contiguous == array.copy("K").flags.f_contiguous
    assert back.flags.writeable
    assert back.flags.owndata
    assert encoding.fingerprint(back) == encoding.fingerprint(array)


@pytest.mark.parametrize("scalar", SCALARS, ids=lambda scalar: type(scalar).__name__)
def test_scalars_come_back_as_they_were(scalar: Any) -> None:
    """They are not Python's numbers and strings, not even those that are derived from them."""
    encoding = Encoding()
    back = encoding.decode(encoding.encode((scalar,), "it"))[0]
    assert type(back) is type(scalar)
    assert (repr(back), back.tobytes()) == (repr(scalar), scalar.tobytes())


@pytest.mark.parametrize("value", REFUSED.values(), ids=REFUSED)
def test_what_numpy_does_not_give_back_is_refused(value: Any) -> None:
    """Objects are addresses, and other kinds would lose something."""
    with pytest.raises(NotRecordableError):
        Encoding().encode([value], "it")


def test_what_lies_between_fields_does_not_count() -> None:
    """Equal arrays have equal fingerprints, whatever their memory held before."""
    arrays = []
    for filling in (b"\x00", b"\xff"):
        array = numpy.ndarray(2, PADDED, bytearray(filling * 2 * PADDED.itemsize))
        array["a"], array["b"], array["c"]["d"] = 1, 2.0, "x"
        arrays.append(array)
    assert arrays[0].tobytes() != arrays[1].tobytes()
    assert Encoding().fingerprint(arrays[0]) == Encoding().fingerprint(arrays[1])
