"""Types for annotations: what kaygraph returns to you or passes to your code, and its settings.

A program calls none of them itself. Import them from here to annotate its own functions::

    from kaygraph.types import ParallelSettings, RunSnapshot, StageReport

=====================================  ===========================================================
``NodeSettings``, ``BatchSettings`` …  the keywords of each class, for ``**settings: Unpack[…]``
``Branch``, ``Chain``                  what ``node - "action"`` and ``a >> b`` return
``BranchGroup``, ``Streaming``         what ``settle(a, b)`` and its kind, and ``a | b`` return
``StageReport``                        what the ``post`` of a pipeline's stage receives
``Status``                             the values of ``Outcome.status``
``RunTask``, ``RunSnapshot``           what ``start()`` returns, and its ``snapshot()``
``NodeFigures``, ``WorkerFigures``     the figures in a RunReport, per node and per worker
``RunInfo``, ``RunRecord``             a run in a Journal: a line of its list, and all of it
``Wait``, ``Waits``                    what a recorded run waits for
=====================================  ===========================================================
"""

from typing import TYPE_CHECKING

from ._public import TYPE_PLACES, load

if TYPE_CHECKING:
    from .groups.branches import BranchGroup as BranchGroup
    from .journal.records import RunRecord as RunRecord
    from .journal.store import RunInfo as RunInfo
    from .journal.waiting import Wait as Wait
    from .journal.waiting import Waits as Waits
    from .node.keywords import BatchGraphSettings as BatchGraphSettings
    from .node.keywords import BatchSettings as BatchSettings
    from .node.keywords import GraphSettings as GraphSettings
    from .node.keywords import MapReduceSettings as MapReduceSettings
    from .node.keywords import NodeSettings as NodeSettings
    from .node.keywords import ParallelSettings as ParallelSettings
    from .node.keywords import PipelineSettings as PipelineSettings
    from .node.streaming import Streaming as Streaming
    from .node.wiring import Branch as Branch
    from .node.wiring import Chain as Chain
    from .observability.figures import NodeFigures as NodeFigures
    from .observability.figures import WorkerFigures as WorkerFigures
    from .outcome import Status as Status
    from .run.task import RunTask as RunTask
    from .snapshot import RunSnapshot as RunSnapshot
    from .streams.report import StageReport as StageReport

__all__ = sorted(TYPE_PLACES)


if not TYPE_CHECKING:  # so that type checkers report an unknown name

    def __getattr__(name):
        if name not in TYPE_PLACES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = thing = load(name)
        return thing


def __dir__() -> list[str]:
    return __all__
