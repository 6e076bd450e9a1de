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
    """Return the function that ``value`` is or names; for a function node, its function."""
    function = check_function(name, value)
    return function.function if isinstance(function, Calling) else function


class Calling(Stored, Generic[Arguments, Returned]):
    """The common part of nodes that call a function; it precedes Node in their bases."""

    function: Callable[Arguments, Returned]
    calls_function = True  # which is yours, though the node is ready-made

    _checks: ClassVar[Checks] = {"function": _function}
    # Whether the function can be called without an argument, and with one.
    _takes: tuple[bool, bool] = (False, True)
    _takes_item = False  # it is always called with the item

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
        if "function" in names:  # each instance may have a function of another kind
            function = self.function
            if type(self).exec is Calling.exec and "exec" not in vars(self):
                self.__dict__["exec_kind"] = kind_of(function)
            self.__dict__["_takes"] = (_may_take(function, 0), _may_take(function, 1))
        if "function" in names or "reads" in names:
            self.__dict__["_takes_item"] = not (self._takes[0] or isinstance(self.reads, tuple))
        super()._changed(names)  # type: ignore[misc]

    def __call__(self, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Returned:
        """Call the function directly, outside of any run."""
        return self.function(*args, **kwargs)

    def exec(self, item: Any, /) -> Any:
        """Call the function with the values of ``reads``, or with the item of a pipeline."""
        call: Function = self.function
        if self._takes_item:
            return call(item)
        if isinstance(self.reads, tuple):
            return call(*item)
        without, with_item = self._takes
        if without and (not with_item or (item is None and self.reads is None)):
            return call()
        return call(item)

    def _call_like(self, function: Function) -> None:
        """Name the node after its function."""
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
        self.function = self.function  # the pickled value may be a name to resolve


class FunctionNode(Calling[Arguments, Returned], Node[Any, Any]):
    """A plain function as a node: ``exec`` calls the function.

    An ``async def`` runs on the event loop, a ``def`` in a thread; a generator yields several
    results. The function gets the value of the key in ``reads``, or the values of several keys as
    positional arguments. Without ``reads``, it gets the item from the previous stage of a
    pipeline, or nothing if it takes no argument. A parameter keeps its default when there is
    nothing to pass (no ``reads``, and an item that is None).

    You can still call the node as the function: ``fetch("https://…")``. Wherever you use the name
    in a graph, it is the same node; ``copy.copy(fetch)`` makes a second one.

    Args:
        function: The function, or ``"module:function"``.
        reads: A key of the shared store, or several.
        writes: A key for the result, or several for a result that is a tuple.
        name: The function's name by default.

    The other settings are those of Node.

    Raises:
        NodeDefinitionError: The function does not accept the number of arguments that it would get.
        FunctionReferenceError: ``"module:function"`` does not name a function.
    """

    _accepts: ClassVar[frozenset[str]] = Node._accepts | {"reads", "writes", "function"}

    def __init__(
        self,
        function: Callable[Arguments, Returned] | str | None = None,
        **settings: Unpack[StoreSettings],
    ) -> None:
        self._begin(function, settings)


class ParallelFunctionNode(Calling[Arguments, Returned], ParallelBatchNode[Any, Returned]):
    """A plain function as a node that calls it for many items at once and keeps their order.

    The function gets one item of the value under ``reads``, or one item of the pipeline.
    Otherwise the node works like a FunctionNode.

    Args:
        function: The function, or ``"module:function"``.
        reads: The key of the items.
        writes: The key of the list of results.
        name: The function's name by default.

    The other settings are those of ParallelBatchNode.

    Raises:
        NodeDefinitionError: The function does not accept exactly one argument.
        FunctionReferenceError: ``"module:function"`` does not name a function.
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
    """Turn a function into a node: ``@node`` or ``@node(reads="urls", writes="pages")``.

    Returns a FunctionNode. You can wire it, and still call it as the function.
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
    """Turn a function into a node that calls it for many items at once.

    ``@parallel_node(reads="urls", writes="pages", max_workers=20)`` returns a
    ParallelFunctionNode.
    """
    if function is None:
        return functools.partial(ParallelFunctionNode, **settings)
    return ParallelFunctionNode(function, **settings)


def _may_take(function: Function, count: int) -> bool:
    """Return whether a function accepts ``count`` positional arguments."""
    try:
        inspect.signature(function).bind(*[None] * count)
    except TypeError:
        return False
    except ValueError:  # a C function without a signature: the first call will show
        return count > 0
    return True


def _reference_past_node(function: Function) -> str | None:
    """Return ``"module:function"`` if pickle would find the node in place of its function.

    Pickle stores a function by its name, and ``@node`` has given that name to the node. Where a
    name means nothing on the other side, the function goes there itself.
    """
    from ..executors.pickling import travels_by_name  # loads where it is used

    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if module is not None and not travels_by_name(module):
        return None
    try:
        found = attrgetter(path)(sys.modules[module])  # type: ignore[index]
    except (AttributeError, KeyError):
        return None
    is_its_node = isinstance(found, Calling) and found.function is function
    return f"{module}:{path}" if is_its_node else None
