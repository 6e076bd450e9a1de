"""The hook names of the asynchronous classes of PocketFlow and KayGraph."""

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from ..errors import NodeDefinitionError
from ..node.hooks import HOOKS
from ..node.node import BaseNode
from ._calls import settled

if TYPE_CHECKING:
    _Hooked = BaseNode[Any, Any]
else:
    _Hooked = object


class Suffixed(_Hooked):
    """The hooks ``prep_async``, ``exec_async``, ``exec_fallback_async`` and ``post_async``.

    A class that defines one of them gets the hook with the plain name, which the engine calls. By
    default, each calls the plain hook of the next class in the MRO.
    """

    def __init_subclass__(cls, **kwargs: Any) -> None:
        for hook in HOOKS:
            if f"{hook}_async" in vars(cls):
                setattr(cls, hook, FORWARDS[hook])
        super().__init_subclass__(**kwargs)
        cls._guards = {**cls._guards, **GUARDS}

    def _changed(self, names: Collection[str]) -> None:
        own = vars(self)
        for hook in HOOKS:  # one that is set on an object is called there
            if f"{hook}_async" in names and f"{hook}_async" in own:
                own[hook] = FORWARDS[hook].__get__(self)
                names = {*names, hook}
        super()._changed(names)

    async def prep_async(self, shared: Any, /) -> Any:
        """Read from the shared store what ``exec_async`` needs."""
        return await settled(super().prep(shared))

    async def exec_async(self, prep_res: Any, /) -> Any:
        """Work, without the shared store."""
        return await settled(super().exec(prep_res))

    async def exec_fallback_async(self, prep_res: Any, exc: Exception, /) -> Any:
        """Return a result after the last attempt has failed; by default, raise the error."""
        return await settled(super().exec_fallback(prep_res, exc))  # type: ignore[misc]

    async def post_async(self, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
        """Write to the shared store; return the next action."""
        return await settled(super().post(shared, prep_res, exec_res))


# Their callers await these directly, without a coroutine in between.


def _prep(self: Any, shared: Any, /) -> Any:
    return self.prep_async(shared)


def _exec(self: Any, prep_res: Any, /) -> Any:
    return self.exec_async(prep_res)


def _exec_fallback(self: Any, prep_res: Any, exc: Exception, /) -> Any:
    return self.exec_fallback_async(prep_res, exc)


def _post(self: Any, shared: Any, prep_res: Any, exec_res: Any, /) -> Any:
    return self.post_async(shared, prep_res, exec_res)


def _called(name: str, value: Any) -> Any:
    if not callable(value):
        raise NodeDefinitionError(f"{name} must be a function, because it is a hook; got {value!r}")
    return value


GUARDS = {f"{hook}_async": _called for hook in HOOKS}
FORWARDS = {"prep": _prep, "exec": _exec, "exec_fallback": _exec_fallback, "post": _post}
for _forward in FORWARDS.values():
    _forward.__dict__["hook_kind"] = "async"
