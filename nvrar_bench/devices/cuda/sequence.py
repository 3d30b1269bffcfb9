"""Several operations on a GPU as one: queued, or captured in one CUDA graph, as engines do."""

from __future__ import annotations

from collections.abc import Iterable

from nvrar_bench.devices.cuda.context import GpuContext, Graph
from nvrar_bench.devices.operation import Operation
from nvrar_bench.devices.sequence import SequenceOperation


class GpuSequence(SequenceOperation):
    """All parts in order. With `graph`, launches behind the first are of one graph.

    The first is queued part by part: what libraries load or connect on first use cannot be
    captured. Without `graph`, or with a part that returns only when it is done (MPI), each launch
    is: it then ends when the GPU is done, and what the host takes to launch belongs to its time.
    """

    def __init__(self, parts: Iterable[Operation], context: GpuContext, graph: bool) -> None:
        super().__init__(parts)
        self._context = context
        self.stream_ordered = graph and all(part.stream_ordered for part in self.times)
        self._was_launched = False
        self._graph: Graph | None = None

    def launch(self) -> None:
        """Launch the graph, or all parts."""
        if self.stream_ordered and self._was_launched:
            self._captured().launch()
            return
        super().launch()
        self._was_launched = True
        if not self.stream_ordered:
            self._context.drain(self.variant)

    def _captured(self) -> Graph:
        if self._graph is None:
            self._graph = Graph(self._context, super().launch, 1)
        return self._graph

    def close(self) -> None:
        """Forget the graph, and close the parts."""
        if self._graph is not None:
            self._graph.close()
        super().close()
