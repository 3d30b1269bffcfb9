"""The ranks that reduce together, and their tensors in symmetric memory."""

from __future__ import annotations

import math
from bisect import bisect_right, insort
from collections.abc import Sequence
from itertools import count
from types import TracebackType
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from nvrar_bench import open as open_backend
from nvrar_bench.api.operand import Operand
from nvrar_bench.errors import UsageError
from nvrar_bench.torch.meeting import Meeting

if TYPE_CHECKING:
    from mpi4py import MPI

_NAMES = ("float32", "float16", "bfloat16", "float64", "int32", "int64")
_DTYPES = {getattr(torch, name): name for name in _NAMES}
_groups: dict[str, Group] = {}
_numbers = count()


class Group:
    """The ranks that reduce together; a context manager. Opening and closing it is collective.

    Attributes:
        name: by which operators find it: their arguments are tensors, numbers and strings.
        device: where its tensors are.
    """

    def __init__(
        self,
        ranks: dist.ProcessGroup | MPI.Comm | None = None,
        backend: str = "nvrar",
        device: str = "cpu",
        **options: Any,
    ) -> None:
        """Open `backend` for these ranks.

        Args:
            ranks: a process group of torch.distributed, None for its default one; or an MPI
                communicator.
            backend: `nvrar` or `nccl`; with an MPI communicator also `mpi`.
            device: `cpu` or `cuda`.
            options: others of `nvrar_bench.open`, such as `nodes` and `timeout`.

        Raises:
            UsageError: there is no process group, or an option that is not allowed.
            Unavailable: the backend or device is not there.
            LostRank: not all ranks came.
        """
        if device not in ("cpu", "cuda"):
            raise UsageError(f"device {device}: allowed: cpu, cuda")
        if ranks is dist.GroupMember.NON_GROUP_MEMBER:
            raise UsageError("this rank is not in the process group; only those in it open a Group")
        self._meeting = None
        if ranks is None or isinstance(ranks, dist.ProcessGroup):
            self._meeting = Meeting(ranks, backend, device)
            ranks = self._meeting.world
        self._backend = open_backend(backend, ranks, device, **options)
        index = torch.cuda.current_device() if device == "cuda" else None
        self.device = torch.device(device, index)
        self._own: list[tuple[int, float]] = []  # where tensors from `allocate` start and end
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self.name = f"nvrar_bench:{next(_numbers)}"
        _groups[self.name] = self

    def allocate(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """Return a tensor in symmetric memory, of zeros; it lives until `close`. Collective.

        Raises:
            UsageError: a dtype that no group takes.
        """
        return self._allocate(shape, name_of(dtype))

    def _allocate(self, shape: Sequence[int], dtype: str) -> torch.Tensor:
        with torch.inference_mode(False):  # else it could not be written outside that mode
            tensor = torch.from_dlpack(self._backend.empty(shape, dtype))
        insort(self._own, (tensor.data_ptr(), tensor.data_ptr() + tensor.nbytes))
        return tensor

    def reduce(self, tensor: torch.Tensor, result: torch.Tensor, op: str) -> None:
        """Store in `result` the op over all ranks of `tensor`, which `require` has seen.

        Private tensors pass through one symmetric tensor: a CUDA graph is captured with addresses
        that no call had before, and a call on new addresses cannot be prepared then.
        """
        if not tensor.numel():
            return
        is_symmetric = self._is_symmetric(tensor)
        if tensor is result and is_symmetric:
            self._call(tensor, tensor, op)
        else:
            passage = self._passage(tensor.nbytes).view(tensor.dtype).view(tensor.shape)
            self._call(tensor if is_symmetric else passage.copy_(tensor), passage, op)
            result.copy_(passage)

    def _is_symmetric(self, tensor: torch.Tensor) -> bool:
        address = tensor.data_ptr()
        place = bisect_right(self._own, (address, math.inf))
        return place > 0 and address + tensor.nbytes <= self._own[place - 1][1]

    def _passage(self, nbytes: int) -> torch.Tensor:
        """Its first bytes. It grows alike on all ranks; what it was stays, as graphs may use it."""
        if nbytes > len(self._bytes):
            self._bytes = self._allocate((1 << (nbytes - 1).bit_length(),), "uint8")
        return self._bytes[:nbytes]

    def _call(self, send: torch.Tensor, recv: torch.Tensor, op: str) -> None:
        self._backend.all_reduce(_operand(send), _operand(recv), op, self._stream())

    def _stream(self) -> torch.cuda.Stream | None:
        return torch.cuda.current_stream() if self.device.type == "cuda" else None

    def require(self, tensor: torch.Tensor) -> None:
        """Refuse a tensor that cannot be reduced (UsageError)."""
        name_of(tensor.dtype)
        if tensor.device != self.device:
            raise UsageError(
                f"the tensor is on {tensor.device}; allowed: {self.device}, where this group "
                "reduces"
            )
        if not tensor.is_contiguous():
            raise UsageError(
                f"the tensor has shape {tuple(tensor.shape)} and strides {tensor.stride()}; "
                "allowed: a contiguous one, as tensor.contiguous() returns"
            )

    def synchronize(self) -> None:
        """Wait until the calls on the current stream have run; on CPU ranks they have.

        Raises:
            TimedOut: in one of them a peer did not answer in time.
        """
        self._backend.synchronize(self._stream())

    def close(self) -> None:
        """Free everything; a second call is none."""
        self.__exit__(None, None, None)

    def __enter__(self) -> Group:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if _groups.pop(self.name, None) is None:
            return
        self._backend.__exit__(kind, error, trace)
        if self._meeting:
            self._meeting.close()


def open_group(name: str) -> Group:
    """Return the group called `name`, if it is open here (UsageError)."""
    if name not in _groups:
        raise UsageError(f"group {name!r} is not open here; open: {', '.join(_groups) or 'none'}")
    return _groups[name]


def name_of(dtype: torch.dtype) -> str:
    """Return our name of a dtype that groups take (UsageError)."""
    if dtype not in _DTYPES:
        raise UsageError(f"dtype {dtype}: allowed: {', '.join(map(str, _DTYPES))}")
    return _DTYPES[dtype]


def _operand(tensor: torch.Tensor) -> Operand:
    """What a call needs of a tensor, whatever its shape; to ask DLPack takes longer than a call."""
    return Operand(tensor.data_ptr(), (tensor.numel(),), name_of(tensor.dtype))
