"""Hooks that a reload or a patch has replaced after their class was made."""

from ..aio.code import USER, kind_of
from ..errors import add_note


def note_changed_hook(error: BaseException) -> None:
    """Explain why a hook could not be awaited: it was ``async def``, and is ``def`` now.

    The classes are inspected again for the next run.
    """
    if isinstance(error, BaseExceptionGroup):
        for one in error.exceptions:
            note_changed_hook(one)
        return
    if type(error) is not TypeError or "'await' expression" not in str(error):
        return
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or kind_of(last.tb_frame.f_code.co_filename) == USER:
        return  # a mistake in the hook itself
    found = last.tb_frame.f_locals
    this = found.get("self")
    about = found.get("node"), this, getattr(this, "node", None), getattr(this, "owner", None)
    for node in about:
        again = getattr(node, "note_hooks_again", None)
        if again is not None and type(node).__name__ in again():
            add_note(
                error,
                f"hooks of {type(node).__name__} were replaced after the class was made, and are "
                "no longer 'async def': that is noted now, so run it again",
            )
            return
