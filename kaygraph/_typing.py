"""Type variables that default to Any, so that nobody has to write types who does not want to.

Defaults are for type checkers, which know them on every Python; at run time they come with 3.13.
"""

import typing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from typing_extensions import TypeVar
else:

    def TypeVar(name, default):  # noqa: N802
        return typing.TypeVar(name)


P = TypeVar("P", default=Any)  # what prep returns
E = TypeVar("E", default=Any)  # what post gets from exec
I = TypeVar("I", default=P)  # noqa: E741 - what exec takes: of a batch, one item of P
R = TypeVar("R", default=E)  # what exec returns: of a batch, one result of E
Item = TypeVar("Item", default=Any)
Result = TypeVar("Result", default=Any)
