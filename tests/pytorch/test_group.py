"""Groups, their tensors and the operators: on one rank in this process, on four of torchrun."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

import nvrar_bench.torch as nvrar  # noqa: E402 - PyTorch may be missing
from nvrar_bench.errors import LostRank, Unavailable, UsageError  # noqa: E402

WORKER = Path(__file__).parent / "worker_group.py"
torch.set_num_threads(1)


def test_four_ranks_of_torchrun(run_torch):
    done = run_torch(4, WORKER)
    assert done.code == 0, done.stderr[-4000:]
    for found in done.record():
        assert {what: wrong for what, wrong in found.items() if wrong} == {}
    assert len(done.record()) == 4


@pytest.mark.parametrize("shape", [(3, 5), (), (0, 4), (7,)])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.int64])
def test_allocate_gives_symmetric_memory(group, shape, dtype):
    tensor = group.allocate(shape, dtype)
    assert (tuple(tensor.shape), tensor.dtype, tensor.is_contiguous()) == (shape, dtype, True)
    assert not tensor.any()
    memory = group._backend._memory
    start = tensor.view(-1).view(torch.uint8).numpy()
    assert memory.peers(start) == (tensor.data_ptr(),) or not tensor.numel()


def test_a_tensor_outlives_its_group(process_group):
    with nvrar.Group() as group:
        tensor = group.allocate((1000,))
    tensor.fill_(3)
    assert tensor.sum() == 3000


def test_private_tensors_pass_through_one_that_grows(group):
    """So their addresses may change from call to call, and no call is prepared again."""
    for rows in (1, 8, 3):
        for _ in range(3):
            mine = torch.ones(rows, 5)
            assert nvrar.all_reduce_(mine, group) is mine
            assert torch.equal(nvrar.all_reduce(mine[:1], group), torch.ones(1, 5))
            assert torch.equal(mine, torch.ones(rows, 5))
    assert [end - start for start, end in sorted(group._own)] in ([32, 256], [256, 32])
    assert len(group._backend._prepared) == 4


def test_memory_that_inference_mode_made_is_written_outside_it(group):
    with torch.inference_mode():
        symmetric = group.allocate((4,))
        nvrar.all_reduce(torch.ones(4), group)
    assert nvrar.all_reduce_(symmetric.fill_(2), group).tolist() == [2, 2, 2, 2]
    assert nvrar.all_reduce_(torch.ones(4), group).tolist() == [1, 1, 1, 1]


BAD = {
    "gaps": (torch.zeros(4, 4)[:, 1:], "the tensor has shape (4, 3) and strides (4, 1); allowed"),
    "bool": (torch.zeros(4, dtype=torch.bool), "dtype torch.bool: allowed: torch.float32, torch."),
    "device": (
        torch.zeros(4, device="meta"),
        "the tensor is on meta; allowed: cpu, where",
    ),
}


@pytest.mark.parametrize("call", [nvrar.all_reduce, nvrar.all_reduce_])
@pytest.mark.parametrize(("tensor", "message"), BAD.values(), ids=BAD)
def test_tensors_that_are_refused(group, call, tensor, message):
    with pytest.raises(UsageError) as caught:
        call(tensor, group)
    assert str(caught.value).startswith(message)


def test_a_tensor_is_refused_when_it_is_traced(group):
    compiled = torch.compile(lambda x: nvrar.all_reduce(x, group), backend="eager", fullgraph=True)
    with pytest.raises(Exception, match=r"dtype torch.bool: allowed: torch.float32"):
        compiled(torch.zeros(4, dtype=torch.bool))


def test_other_refusals(group):
    with pytest.raises(UsageError, match=r"^unknown op 'xor'; allowed: sum, prod, min, max, avg$"):
        nvrar.all_reduce(torch.zeros(4), group, "xor")
    with pytest.raises(UsageError, match=r"^dtype torch.complex64: allowed: torch.float32, "):
        group.allocate((4,), torch.complex64)
    with pytest.raises(UsageError, match=r"^backend mpi: torch.distributed started these ranks; "):
        nvrar.Group(backend="mpi")
    with pytest.raises(UsageError, match=r"^device auto: allowed: cpu, cuda$"):
        nvrar.Group(device="auto")
    group.synchronize()
    another = nvrar.Group()
    another.close()
    another.close()
    assert nvrar.all_reduce(torch.ones(4), group).tolist() == [1, 1, 1, 1]


def test_a_closed_group_is_refused(process_group):
    with nvrar.Group() as first:
        pass
    with nvrar.Group() as second, pytest.raises(UsageError) as caught:
        nvrar.all_reduce(torch.zeros(4), first)
    assert str(caught.value) == f"group {first.name!r} is not open here; open: {second.name}"


def test_without_a_process_group():
    with pytest.raises(UsageError, match=r"^there is no process group: start the ranks with torch"):
        nvrar.Group()


def test_a_rank_outside_of_the_process_group(process_group):
    with pytest.raises(UsageError, match=r"^this rank is not in the process group; only those in"):
        nvrar.Group(torch.distributed.GroupMember.NON_GROUP_MEMBER)


def test_a_lost_rank(process_group, monkeypatch):
    def fail(*arguments: object) -> None:
        raise RuntimeError("Connection closed by peer")

    monkeypatch.setattr(torch.distributed, "all_gather_object", fail)
    with pytest.raises(LostRank) as caught:
        nvrar.Group()
    start = "a rank of the group did not answer torch.distributed: Connection closed by peer"
    assert str(caught.value) == start


def test_without_pytorch():
    program = "import sys; sys.modules['torch'] = None\nimport nvrar_bench.torch"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    message = "PyTorch is not installed: pip install 'nvrar-bench[torch]'"
    assert done.stderr.splitlines()[-1] == f"{Unavailable.__module__}.Unavailable: {message}"


# ---- what operators promise --------------------------------------------------------------------


@pytest.mark.parametrize("name", ["all_reduce", "all_reduce_"])
def test_operators_pass_the_checks_of_pytorch(group, name):
    """Schema, fake implementation, autograd and tracing, on tensors with and without a gradient."""
    operator = getattr(torch.ops.nvrar_bench, name).default
    for needs_gradient in {False, name == "all_reduce"}:
        tensor = torch.randn(3, 5, requires_grad=needs_gradient)
        checks = torch.library.opcheck(operator, (tensor, group.name, "sum"))
        assert set(checks.values()) == {"SUCCESS"}


def test_gradients(group):
    ours = torch.ops.nvrar_bench
    tensor = torch.ones(4, requires_grad=True)
    (nvrar.all_reduce(tensor, group) * torch.arange(4)).sum().backward()
    assert tensor.grad.tolist() == [0, 1, 2, 3]
    with pytest.raises(UsageError, match=r"^all_reduce has no gradient for op max, and the tensor"):
        nvrar.all_reduce(tensor, group, "max")
    for call in (nvrar.all_reduce_, lambda mine, group: ours.all_reduce_(mine, group.name, "sum")):
        for mine in (tensor, tensor * 2):
            with pytest.raises(UsageError, match=r"^all_reduce_ has no gradient, and the te"):
                call(mine, group)
    compiled = torch.compile(lambda x: nvrar.all_reduce_(x * 2, group), backend="aot_eager")
    with pytest.raises(Exception, match=r"all_reduce_ has no gradient, and the tensor needs one"):
        compiled(tensor)
    with torch.no_grad():
        assert nvrar.all_reduce_(tensor, group) is tensor
        assert compiled(tensor).tolist() == [2, 2, 2, 2]


@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compiled_as_one_graph(group, backend):
    def layer(hidden: torch.Tensor) -> torch.Tensor:
        summed = nvrar.all_reduce(hidden * 2, group)
        again = summed + hidden
        nvrar.all_reduce_(again, group, "max")
        return again - 1

    compiled = torch.compile(layer, fullgraph=True, backend=backend)
    for rows in (3, 8):  # another shape is traced again
        hidden = torch.randn(rows, 5)
        assert torch.equal(compiled(hidden), layer(hidden))
