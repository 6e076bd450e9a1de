"""Plain functions as nodes."""

import functools
import inspect
import sys
from collections.abc import Callable, Collection
from operator import attrgetter
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Unpack, overload

from ..batch.batch import ParallelBatchNode
from ..errors import NodeDefinitionError
from ..executors.kinds import kind_of
from ..node.node import Node
from ..node.settings import Checks
from ._references import Function, check_function, keep_from_binding
from ._store import Stored, StoreParallelSettings, StoreSettings, configure

if TYPE_CHECKING:
    from typing_extensions import ParamSpec, TypeVar

    Arguments = ParamSpec("Arguments", default=...)
    Returned = TypeVar("Returned", default=Any)
else:
    from typing import ParamSpec, TypeVar

    Arguments = ParamSpec("Arguments")
    Returned = TypeVar("Returned")


def _function(name: str, value: Any) -> Function:
    """Return the function that ``value`` is or names; that of a node, where it is one."""
    function = check_function(name, value)
    return function.function if isinstance(function, Calling) else function


class Calling(Stored, Generic[Arguments, Returned]):
    """What the nodes have in common that call a function; it stands before Node in their bases."""

    function: Callable[Arguments, Returned]

    _checks: ClassVar[Checks] = {"function": _function}
    # Which calls the function takes: without an argument, with one.
    _takes: tuple[bool, bool] = (False, True)

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        keep_from_binding(cls, "function")

    def _begin(self, function: Any, settings: Any) -> None:
        given = getattr(self, "function", None) if function is None else function
        if given is None:
            raise NodeDefinitionError(
                f"{type(self).__name__} needs a function, as in {type(self).__name__}(fetch, "
                "reads='urls')"
            )
        configure(self, {"function": given}, settings)
        if function is not None and "name" not in settings:
            self._call_like(self.function)
        self._check_arguments()

    def _changed(self, names: Collection[str]) -> None:
        if "function" in names:  # how it is written is a fact of the instance here
            function = self.function
            if type(self).exec is Calling.exec and "exec" not in vars(self):
                self.__dict__["_exec_kind"] = kind_of(function)
            self.__dict__["_takes"] = (_may_take(function, 0), _may_take(function, 1))
        super()._changed(names)  # type: ignore[misc]

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        """Call the function itself, outside of any run."""
        return self.function(*args, **kwargs)

    def exec(self, item: Any, /) -> Any:
        """Call the function with what was read, or with the item of a pipeline."""
        call: Function = self.function
        if isinstance(self.reads, tuple):
            return call(*item)
        without, with_item = self._takes
        if without and (not with_item or (item is None and self.reads is None)):
            return call()
        return call(item)

    def _call_like(self, function: Function) -> None:
        """Name the node after its function; two of one name are told apart as two of a class."""
        name = getattr(getattr(function, "func", function), "__name__", "")
        if name.isidentifier():
            self.__dict__["name"] = name

    def _check_arguments(self) -> None:
        if type(self).exec is not Calling.exec:
            return
        if self.reads is None:
            fits, gets = any(self._takes), "nothing, or the item of a pipeline"
        else:
            keys = (self.reads,) if isinstance(self.reads, str) else self.reads
            fits, gets = _may_take(self.function, len(keys)), ", ".join(map(repr, keys))
        if not fits:
            signature = inspect.signature(self.function)
            raise NodeDefinitionError(
                f"{self.name!r} takes {signature}, and would get {gets}: reads= names a key for "
                "each argument, in their order"
            )

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()  # type: ignore[assignment]
        reference = _reference_past_node(self.function)
        return state if reference is None else {**state, "function": reference}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[misc]
        self.function = self.function  # which may be a name, as pickled


class FunctionNode(Calling[Arguments, Returned], Node[Any, Any]):
    """A plain function as a node: ``exec`` calls it, and runs where the function's kind says.

    ``async def`` runs on the loop, ``def`` in a thread; a generator yields several results. The
    function gets what ``reads`` names: the value of one key, or the values of several as its
    positional arguments. Without ``reads`` it gets the item that a pipeline hands on, or nothing
    where it takes no argument. A parameter with a default keeps it where there is nothing to give
    (no ``reads``, and an item that is None).

    The node may still be called as the function: ``fetch("https://…")``. It is one node wherever
    its name stands; ``copy.copy(fetch)`` is another, for a second place or another graph.

    Args:
        function: The function, or ``"module:function"``.
        reads: A key of the shared store, or several.
        writes: A key for the result, or several for a result that is a tuple.
        name: The function's name by default.

    The other settings are those of Node.

    Raises:
        NodeDefinitionError: The function does not take as many arguments as it would get.
        FunctionReferenceError: ``"module:function"`` leads to no function.
    """

    _accepts: ClassVar[frozenset[str]] = Node._accepts | {"reads", "writes", "function"}

    def __init__(
        self,
        function: Callable[Arguments, Returned] | str | None = None,
        **settings: Unpack[StoreSettings],
    ) -> None:
        self._begin(function, settings)


class ParallelFunctionNode(Calling[Arguments, Returned], ParallelBatchNode[Any, Returned]):
    """A plain function as a node that calls it for many items at once, and keeps their order.

    The function gets one item of what ``reads`` names, or of the pipeline it is a stage of. In all
    else it is a FunctionNode.

    Args:
        function: The function, or ``"module:function"``.
        reads: The key of the items.
        writes: The key of the list of results.
        name: The function's name by default.

    The other settings are those of ParallelBatchNode.

    Raises:
        NodeDefinitionError: The function does not take one argument.
        FunctionReferenceError: ``"module:function"`` leads to no function.
    """

    _accepts: ClassVar[frozenset[str]] = ParallelBatchNode._accepts | {
        "reads", "writes", "function",
    }  # fmt: skip

    def __init__(
        self,
        function: Callable[Arguments, Returned] | str | None = None,
        **settings: Unpack[StoreParallelSettings],
    ) -> None:
        self._begin(function, settings)
        if isinstance(self.reads, tuple):
            raise NodeDefinitionError(
                f"{self.name!r} works on the items of one key, and reads= names {self.reads}: "
                "zip them in a node before this one"
            )


@overload
def node(
    function: Callable[Arguments, Returned], /, **settings: Unpack[StoreSettings]
) -> FunctionNode[Arguments, Returned]: ...
@overload
def node(
    **settings: Unpack[StoreSettings],
) -> Callable[[Callable[Arguments, Returned]], FunctionNode[Arguments, Returned]]: ...
def node(function: Any = None, /, **settings: Any) -> Any:
    """Make a function a node: ``@node``, or ``@node(reads="urls", writes="pages", max_retries=3)``.

    What comes back is a FunctionNode, which is to be wired and may still be called.
    """
    if function is None:
        return functools.partial(FunctionNode, **settings)
    return FunctionNode(function, **settings)


@overload
def parallel_node(
    function: Callable[Arguments, Returned], /, **settings: Unpack[StoreParallelSettings]
) -> ParallelFunctionNode[Arguments, Returned]: ...
@overload
def parallel_node(
    **settings: Unpack[StoreParallelSettings],
) -> Callable[[Callable[Arguments, Returned]], ParallelFunctionNode[Arguments, Returned]]: ...
def parallel_node(function: Any = None, /, **settings: Any) -> Any:
    """Make a function a node that calls it for many items at once.

    ``@parallel_node(reads="urls", writes="pages", max_workers=20)`` makes a ParallelFunctionNode.
    """
    if function is None:
        return functools.partial(ParallelFunctionNode, **settings)
    return ParallelFunctionNode(function, **settings)


def _may_take(function: Function, count: int) -> bool:
    """Return whether a function may be called with so many positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a function written in C that does not tell: its first call will
        return count > 0
    return True


def _reference_past_node(function: Function) -> str | None:
    """Return ``"module:function"`` where pickle would find, in a function's place, its node.

    A function is pickled by its name, and ``@node`` has given that name to a node.
    """
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    try:
        found = attrgetter(path)(sys.modules[module])  # type: ignore[index]
    except (AttributeError, KeyError):
        return None
    stands_there = isinstance(found, Calling) and found.function is function
    return f"{module}:{path}" if stands_there else None
