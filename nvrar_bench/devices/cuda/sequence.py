"""Several operations on a GPU as one: queued, or captured in one CUDA graph, as engines do."""

from __future__ import annotations

from collections.abc import Iterable

from nvrar_bench.devices.cuda.context import GpuContext, Graph
from nvrar_bench.devices.operation import Operation
from nvrar_bench.devices.sequence import SequenceOperation


class GpuSequence(SequenceOperation):
    """All parts in order. With `graph`, launches behind the first are of one graph.

    The first is queued call by call: what libraries load or connect on first use cannot be
    captured. A part that returns only when it is done (MPI) rules a graph out.
    """

    def __init__(self, parts: Iterable[Operation], context: GpuContext, graph: bool) -> None:
        super().__init__(parts)
        self._context, self._wants_graph = context, graph
        self.stream_ordered = all(part.stream_ordered for part in self.times)
        self._was_launched = False
        self._graph: Graph | None = None

    def launch(self) -> None:
        """Queue all parts; where one does not only queue, wait for the last."""
        if not self.stream_ordered:
            super().launch()
            self._context.drain("work behind the last all-reduce")
        elif self._wants_graph and self._was_launched:
            self._captured().launch()
        else:
            super().launch()
            self._was_launched = True

    def _captured(self) -> Graph:
        if self._graph is None:
            self._graph = Graph(self._context, super().launch, 1)
        return self._graph

    def close(self) -> None:
        """Forget the graph, and close the parts."""
        if self._graph is not None:
            self._graph.close()
        super().close()
