"""`--fabric loopback`: all ranks in one process, from the command line to the record."""

from __future__ import annotations

import pytest
from output import one_error

LOOPBACK = ("--device", "cpu", "--fabric", "loopback")


def test_a_sweep_of_virtual_ranks(run_command):
    done = run_command(
        "sweep", *LOOPBACK, "--virtual-ranks", 6, "--nodes", 3, "--sizes", "4,10000",
        "--protocol", "signal,packet", "--buffers", "symmetric,private", "--blocks", 2,
        "--threads", 2, "-n", 3, "-w", 1, "--json", "-",
    )  # fmt: skip
    assert done.code == 0, done.stderr
    record = done.record()
    topology = record["topology"]
    assert (topology["ranks"], topology["nodes"], topology["virtual_nodes"]) == (6, 3, True)
    assert [place["node"] for place in topology["placement"]] == [0, 0, 1, 1, 2, 2]
    assert len(record["results"]) == 2 * 2 * 2
    for result in record["results"]:
        assert result["backend"] == "nvrar"
        assert result["check"]["status"] == "passed"
        assert result["check"]["elements"] % (6 * result["count"]) == 0
        # A busy machine adds doubts of the samples: late ones, and ones that follow each other.
        told = [text for text in result["warnings"] if not text.startswith("statistics: ")]
        assert told == [
            "virtual ranks are threads of one process: results count, times mean nothing"
        ]
    assert {skipped["backend"] for skipped in record["skipped"]} == {"nccl", "mpi"}
    assert record["settings"]["virtual_ranks"] == 6
    assert record["settings"]["blocks"] == 2


def test_a_check_of_virtual_ranks(run_command):
    done = run_command("check", *LOOPBACK, "--virtual-ranks", 4, "--case", "smoke", "--json", "-")
    assert done.code == 0, done.stderr
    assert all(r["check"]["status"] == "passed" for r in done.record()["results"])


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        ("--fabric loopback", 2, ["--fabric loopback", "--virtual-ranks N"]),
        ("--virtual-ranks 4", 2, ["--fabric loopback", "--virtual-ranks N"]),
        ("--fabric token-ring", 2, ["--fabric token-ring", "auto, host, nvshmem, loopback"]),
        ("--fabric nvshmem --device cpu", 2, ["--fabric nvshmem", "--device cpu"]),
        ("--fabric host --device cuda", 2, ["--fabric host", "--device cuda"]),
        ("--fabric loopback --virtual-ranks 1", 2, ["--virtual-ranks 1", "2 to 16"]),
        ("--fabric loopback --virtual-ranks 17", 2, ["--virtual-ranks 17", "2 to 16"]),
        (
            "--fabric loopback --virtual-ranks 7 --nodes 2",
            2,
            ["--nodes 2", "7 virtual ranks: 1, 7"],
        ),
        ("--fabric loopback --virtual-ranks 4 --ranks 2", 2, ["--virtual-ranks 4", "--ranks 2"]),
        ("--fabric loopback --virtual-ranks 4 --backend mpi", 5, ["mpi", "one process"]),
        ("--blocks 0", 2, ["--blocks 0", "from 1 up"]),
        ("--threads x", 2, ["--threads", "x", "whole number"]),
        ("--chunk 100", 2, ["--chunk 100", "1024 to 65536"]),
        ("--chunk 1Q", 2, ["--chunk", "1Q"]),
        ("--radix 1", 2, ["--radix 1", "2 to 64"]),
        ("--exchange ring", 2, ["--exchange ring", "auto, doubling, halving"]),
        ("--graph 129", 2, ["--graph 129", "1 to 128"]),
        ("--graph 4 --ranks 2", 2, ["--graph 4", "cpu device", "--device cuda"]),
        ("--share-gpu --device cpu", 2, ["--share-gpu", "cpu device"]),
        ("--mapped-nodes --nodes 2 --ranks 2", 2, ["--mapped-nodes", "cpu device"]),
        (
            "--mapped-nodes --fabric loopback --virtual-ranks 4",
            2,
            ["--mapped-nodes", "--virtual-ranks", "anyway"],
        ),
        ("--batch 0", 2, ["--batch 0", "1 to 128"]),
        ("--batch 129", 2, ["--batch 129", "1 to 128"]),
        ("--batch 5 --graph 4", 2, ["--batch 5", "--graph 4", "give one of them"]),
        ("--blocks 2", 2, ["--blocks 2", "allowed here: 1"]),
    ],
)
def test_mistakes(run_command, line, code, words):
    done = run_command("sweep", *line.split(), "--sizes", "4K", "-n", 2)
    assert done.code == code, done.stderr
    message = one_error(done.stderr)
    for word in words:
        assert word in message
