"""Orders of measurement."""

from __future__ import annotations

from collections import Counter

from nvrar_bench.run.point_group import TurnOrder


def test_every_draw_holds_every_point_once():
    order = TurnOrder(0, 0, 0)
    assert all(sorted(order.draw(range(5))) == list(range(5)) for _ in range(50))
    assert order.draw([]) == []


def test_seed_launch_and_block_make_the_order():
    def draws(*key: int) -> list[list[int]]:
        order = TurnOrder(*key)
        return [order.draw(range(8)) for _ in range(4)]

    assert draws(1, 2, 3) == draws(1, 2, 3)
    others = [draws(*key) for key in ((1, 2, 3), (0, 2, 3), (1, 0, 3), (1, 2, 0), (12, 0, 3))]
    assert all(one != other for i, one in enumerate(others) for other in others[:i])


def test_nobody_always_goes_first():
    order = TurnOrder(3, 0, 0)
    first = Counter(order.draw("abcd")[0] for _ in range(400))
    assert set(first) == set("abcd")
    assert min(first.values()) > 60  # 100 expected; 6 standard deviations below are 48
