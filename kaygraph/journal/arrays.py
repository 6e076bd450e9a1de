"""NumPy arrays and scalars. NumPy is imported only if there are some."""

from importlib import import_module
from typing import Any

from .extensions import Extension, Packing, Tag, Unpack, Unrecordable

REFUSED = "gGOT"  # long doubles, which differ between platforms; objects; strings of any length


def extension_of(cls: type) -> Extension | None:
    """Return how values of a NumPy class are recorded, or None if they are not."""
    numpy = import_module("numpy")
    if cls is numpy.ndarray:
        return ARRAY
    return SCALAR if issubclass(cls, numpy.generic) and cls.__module__ == "numpy" else None


def _pack_array(array: Any, packing: Packing) -> bytes:
    form = _form_of(array.dtype)
    if packing.canonical and array.dtype.names:  # the padding between fields is arbitrary
        fields = [array[name] for name in array.dtype.names]
        return packing.pack_all((form, list(array.shape), fields))
    is_fortran = array.flags.f_contiguous and not array.flags.c_contiguous
    order = "F" if is_fortran and not packing.canonical else "C"
    return packing.pack_all((form, list(array.shape), order, array.tobytes(order)))


def _unpack_array(data: bytes, unpack: Unpack) -> Any:
    form, shape, order, content = unpack(data)
    return _array(form, shape, order, content)


def _pack_scalar(scalar: Any, packing: Packing) -> bytes:
    form, content = _form_of(scalar.dtype), scalar.tobytes()
    twin = _array(form, (), "C", content)[()]
    if type(twin) is not type(scalar) or twin.tobytes() != content:
        raise Unrecordable(f"is a {type(scalar).__name__}, which NumPy does not restore unchanged")
    return packing.pack_all((form, content))


def _unpack_scalar(data: bytes, unpack: Unpack) -> Any:
    form, content = unpack(data)
    return _array(form, (), "C", content)[()]


def _array(form: Any, shape: Any, order: str, content: bytes) -> Any:
    numpy = import_module("numpy")
    return numpy.ndarray(shape, _dtype(form), content or bytes(1), order=order).copy("K")


def _form_of(dtype: Any) -> Any:
    """Return a dtype as plain data.

    Raises:
        Unrecordable: It holds objects or references, or would not be restored unchanged.
    """
    form = _described(dtype)
    made = _dtype(form)
    if made != dtype or made.type is not dtype.type:
        raise Unrecordable(f"is of NumPy's type {dtype}, which cannot be restored")
    return form


def _described(dtype: Any) -> Any:
    if dtype.char in REFUSED or dtype.metadata:
        raise Unrecordable(f"is of NumPy's type {dtype}, which cannot be restored: return a list")
    if dtype.subdtype is not None:
        base, shape = dtype.subdtype
        return [_described(base), list(shape)]
    if dtype.names is None:
        return dtype.str
    fields = [dtype.fields[name] for name in dtype.names]
    return {
        "names": list(dtype.names),
        "formats": [_described(field[0]) for field in fields],
        "offsets": [field[1] for field in fields],
        "itemsize": dtype.itemsize,
        "aligned": dtype.isalignedstruct,
    }


def _dtype(form: Any) -> Any:
    """Return the described dtype; never one of objects, whose data would be addresses."""
    numpy = import_module("numpy")
    if isinstance(form, list):
        return numpy.dtype((_dtype(form[0]), tuple(form[1])))
    if isinstance(form, dict):
        return numpy.dtype({**form, "formats": [_dtype(each) for each in form["formats"]]})
    dtype = numpy.dtype(form)
    if dtype.hasobject:
        raise ValueError(f"an array of {dtype}, which is never recorded")
    return dtype


ARRAY = Extension(Tag.ARRAY, _pack_array, _unpack_array)
SCALAR = Extension(Tag.ARRAY_SCALAR, _pack_scalar, _unpack_scalar)
