"""What is asked for by name is refused as a run would refuse it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from nvrar_bench.errors import Unavailable
from nvrar_bench.inventory.wanted import require
from nvrar_bench.results.inventory import Ability, Inventory

CPU = (Ability("cpu", None, None, None), Ability("cpu", "nccl", "needs cuda", "get one"))
CUDA = (Ability("cuda", None, None, None), Ability("cuda", "nccl", None, None))
NO_CUDA = (Ability("cuda", None, "no driver", "install it"), CUDA[1])
BOTH = Inventory("1", "here", "now", (), {}, (*CPU, *CUDA))
ONE = replace(BOTH, abilities=(*CPU, *NO_CUDA))


@pytest.mark.parametrize(
    ("inventory", "device", "backends"),
    [
        (BOTH, "auto", ()), (BOTH, "cuda", ("nccl",)), (BOTH, "auto", ("nccl",)),
        (BOTH, "cpu", ()), (ONE, "auto", ()), (ONE, "cpu", ()),
    ],
)  # fmt: skip
def test_what_can_run_is_not_refused(inventory, device, backends):
    require(inventory, device, backends)


@pytest.mark.parametrize(
    ("device", "backends", "message"),
    [
        (
            "cuda", (),
            "--device cuda is not available: no driver: install it; or measure CPU ranks: "
            "--device cpu",
        ),
        ("auto", ("nccl",), "--backend nccl is not available: needs cuda: get one"),
        ("cpu", ("nccl",), "--backend nccl is not available: needs cuda: get one"),
    ],
)  # fmt: skip
def test_what_cannot_is(device, backends, message):
    with pytest.raises(Unavailable) as caught:
        require(ONE, device, backends)
    assert str(caught.value) == message


def test_a_device_asked_for_comes_before_the_backends_on_it():
    with pytest.raises(Unavailable, match=r"^--device cuda"):
        require(ONE, "cuda", ("nccl",))
