"""The tokens of a walk: their positions, which started together, and which joins they hold up."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType

from .plan import Step

NONE: Mapping[int, int] = MappingProxyType({})


class Fork:
    """Tokens that started together, and how many of them are still moving.

    A token that forks again counts as moving while one of its own tokens is: tokens are counted,
    not tasks, which may still have to learn that their tokens have ended.
    """

    __slots__ = ("around", "broken", "last", "live")

    def __init__(self, live: int, around: "Fork | None") -> None:
        self.live, self.around = live, around
        self.last: Step | None = None  # the position of the last one, which goes on after the fork
        self.broken = False  # one of them did not finish

    def ended(self) -> None:
        self.live -= 1
        if not self.live and self.around is not None:
            self.around.ended()


class Tokens:
    """The positions of the tokens of a walk, and the joins that wait for them.

    Tokens are counted by the mask of the joins that they hold up: a join may run when no mask that
    is left has its bit. The first waiting join in topological order always can, once nothing runs,
    so no graph deadlocks.
    """

    def __init__(self, masks: Mapping[int, int] = NONE) -> None:
        self.masks = dict(masks)
        self.waiting: list[Step] = []

    @property
    def single(self) -> bool:
        """Whether one token or none is left, and no join waits."""
        if self.waiting or len(self.masks) > 1:
            return False
        return sum(self.masks.values()) <= 1

    def enter(self, step: Step) -> None:
        self.masks[step.mask] = self.masks.get(step.mask, 0) + 1

    def waits(self, step: Step, following: object) -> bool:
        """Move a token to a join if that already waits, and for more than this token."""
        if following not in self.waiting or self.masks[step.mask] == 1:
            return False
        self.masks[step.mask] -= 1
        return True

    def move(self, step: Step | None, following: Sequence[Step]) -> Sequence[Step]:
        """Move a token along the edges followed; return the steps that start now."""
        changed = False
        masks = self.masks
        if step is not None:
            mask = step.mask
            left = masks[mask] - 1
            if left:
                masks[mask] = left
            else:
                del masks[mask]
                changed = True
        begun: list[Step] = []
        for target in following:
            if not target.bit:
                masks[target.mask] = masks.get(target.mask, 0) + 1
                begun.append(target)
            elif target not in self.waiting:
                self.waiting.append(target)
                changed = True
        if changed and self.waiting:
            begun += self._ready()
        return begun

    def _ready(self) -> list[Step]:
        begun: list[Step] = []
        while (join := self._first_ready()) is not None:
            self.waiting.remove(join)
            self.enter(join)
            begun.append(join)
        return begun

    def _first_ready(self) -> Step | None:
        """Return the first join, in topological order, that nothing holds up."""
        running = 0
        for mask in self.masks:
            running |= mask
        free = sorted((j for j in self.waiting if not running & j.bit), key=lambda j: j.index)
        for join in free:
            if not any(other.mask & join.bit for other in self.waiting if other is not join):
                return join
        for join in free:  # joins of two loops may hold each other up: forward edges decide
            if not any(other.forward & join.bit for other in self.waiting):
                return join
        return None
