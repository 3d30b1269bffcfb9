"""Files of networks: what the shipped ones hold, what the reader takes, and how it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nvrar_bench import networks
from nvrar_bench.errors import NvrarBenchError, UsageError
from nvrar_bench.inventory.network import LOOKS
from nvrar_bench.networks import ADAPTERS, Need, Network, Setting

ONE = '[[setting]]\nvariable = "NCCL_NET"\nvalue = "Socket"\n'


def read(tmp_path: Path, text: str) -> Network:
    path = tmp_path / "mine.toml"
    path.write_text(text)
    return networks.read(str(path))


def refusal(tmp_path: Path, text: str) -> str:
    with pytest.raises(UsageError) as caught:
        read(tmp_path, text)
    start = f"--network {tmp_path / 'mine.toml'}: "
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


def test_the_networks_that_ship():
    assert networks.shipped() == ("infiniband", "roce", "slingshot", "tcp")
    adapters = [networks.read(name).adapter for name in networks.shipped()]
    assert sorted(adapters) == sorted(ADAPTERS)  # auto finds each by its own


@pytest.mark.parametrize("name", networks.shipped())
def test_each_setting_that_ships_has_its_reason_and_its_source(name: str):
    network = networks.read(name)
    assert network.summary != name
    assert network.needs
    for one in network.settings:
        assert len(one.reason.split()) >= 3, one.variable
        assert len(one.source.split()) >= 3, one.variable


def test_each_need_is_looked_for():
    assert set(LOOKS) == set(get_args(Need))


def test_what_is_left_out(tmp_path: Path):
    assert read(tmp_path, ONE) == Network(
        str(tmp_path / "mine.toml"), str(tmp_path / "mine.toml"), "none", (),
        (Setting("NCCL_NET", "Socket"),),
    )  # fmt: skip


def test_everything_that_a_file_may_say(tmp_path: Path):
    text = """
        summary = "ours"
        adapter = "roce"
        needs = ["locked memory", "IBGDA"]
        [[setting]]
        variable = "NCCL_IB_TC"
        value = 106
        for = ["NCCL", "MPI"]
        needed = true
        needs = "IBGDA"
        reason = "the switch"
        source = "its manual"
    """
    found = read(tmp_path, text)
    assert (found.summary, found.adapter, found.needs) == (
        "ours",
        "roce",
        ("locked memory", "IBGDA"),
    )
    assert found.settings == (
        Setting("NCCL_IB_TC", "106", ("NCCL", "MPI"), True, ("IBGDA",), "the switch", "its manual"),
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "setting is missing"),
        ("setting = 3", "setting is 3; allowed: array"),
        ("setting = []", "setting is empty; allowed: one or more [[setting]] tables"),
        ("setting = [3]", "setting[0] is 3; allowed: object"),
        ("colour = 1\n" + ONE, "'colour' is unknown; allowed: setting, summary, adapter, needs"),
        (
            ONE + "color = 1",
            "'setting[0].color' is unknown; allowed: variable, value, for, needed,",
        ),
        ('adapter = "efa"\n' + ONE, "adapter is 'efa'; allowed: slingshot, infiniband, roce, none"),
        ("needs = 3\n" + ONE, "needs is 3; allowed: array"),
        ('needs = "x"\n' + ONE, "needs[0] is 'x'; allowed: Slingshot adapter, InfiniBand adapter"),
        ("summary = 3\n" + ONE, "summary is 3; allowed: string"),
        ("[[setting]]\nvalue = 1", "setting[0].variable is missing"),
        (
            ONE.replace("NCCL_NET", "LD_PRELOAD"),
            "setting[0].variable is 'LD_PRELOAD'; allowed: a variable that begins with NVSHMEM_,",
        ),
        (ONE.replace("NCCL_NET", "NCCL_=x"), "setting[0].variable is 'NCCL_=x'; allowed: a"),
        ('[[setting]]\nvariable = "NCCL_NET"', "setting[0].value is missing"),
        (ONE.replace('"Socket"', "true"), "setting[0].value is True; allowed: string"),
        (ONE.replace("Socket", ""), "setting[0].value is ''; allowed: a text of 1"),
        (ONE + 'for = "UCX"', "setting[0].for[0] is 'UCX'; allowed: NVSHMEM, NCCL, MPI"),
        (ONE + "needed = 1", "setting[0].needed is 1; allowed: boolean"),
        (ONE + ONE, "setting[1].variable is 'NCCL_NET'; allowed: each variable once"),
    ],
)
def test_what_is_not_allowed(tmp_path: Path, text: str, message: str):
    assert refusal(tmp_path, text).startswith(message)


@pytest.mark.parametrize("variable", ["PRTE_MCA_if_include", "HYDRA_IFACE", "I_MPI_HYDRA_IFACE"])
def test_what_the_launcher_reads_is_for_the_shell(tmp_path: Path, variable: str):
    message = refusal(tmp_path, ONE.replace("NCCL_NET", variable))
    assert message.endswith("before any rank starts: export it in the shell")


def test_no_toml(tmp_path: Path):
    with pytest.raises(UsageError, match=r"^--network '.*mine\.toml': is not TOML: "):
        read(tmp_path, "[[setting")


@pytest.mark.parametrize("source", ["nosuch", "", "-"])
def test_a_name_that_is_none(source: str):
    with pytest.raises(UsageError, match=r"allowed: auto, infiniband, roce, slingshot, tcp, or a"):
        networks.read(source)


def test_a_file_that_is_not_there(tmp_path: Path):
    with pytest.raises(UsageError, match=r"--network .*none\.toml: cannot be read: No such file"):
        networks.read(str(tmp_path / "none.toml"))


_VALUES = st.recursive(
    st.one_of(st.booleans(), st.integers(), st.sampled_from(["NCCL_NET", "MPI", "IBGDA", "", "x"])),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=4,
)
_KEYS = ["summary", "adapter", "needs", "variable", "value", "for", "needed", "reason", "x"]


_TABLE = st.dictionaries(st.sampled_from(_KEYS), _VALUES)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(_TABLE, _TABLE)
def test_any_file_is_read_or_refused_with_a_message(tmp_path: Path, top, one):
    lines = [f"{key} = {_toml(value)}" for key, value in top.items()]
    lines += ["[[setting]]", *(f"{key} = {_toml(value)}" for key, value in one.items())]
    assert _told(tmp_path, "\n".join(lines)).startswith("--network ")


def _told(tmp_path: Path, text: str) -> str:
    try:
        found = read(tmp_path, text)
    except NvrarBenchError as error:
        return str(error)
    return f"--network has {len(found.settings)} settings"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(_toml, value))}]"
    return f'"{value}"' if isinstance(value, str) else str(value)
