"""A run on a real Ray cluster of two nodes, on this machine alone."""

import gc
import logging
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.bulk_runs import DEMO, assert_same, embed, images_in, start, table_of

COUNT = 60
STORE_BYTES = 80_000_000
LOOPBACK: dict[str, Any] = {"node_ip_address": "127.0.0.2"}  # what Ray takes for this machine


@pytest.mark.filterwarnings("default")
def test_a_node_that_is_lost_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    records = logging.getLogRecordFactory()
    from ray.cluster_utils import Cluster

    source = images_in(tmp_path / "in", COUNT)
    assert embed(source, tmp_path / "alone", "--shard-rows", 4) == 0
    head = {
        "num_cpus": 1,
        "include_dashboard": False,
        **LOOPBACK,
        "object_store_memory": STORE_BYTES,
    }
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, **LOOPBACK)
        cluster.wait_for_nodes()
        output = tmp_path / "out"
        run = ("embed", source, output, *DEMO, "--shard-rows", 4, "--threads", 1)
        process = start(*run, "--ray", cluster.address)
        while not list(output.glob("part-*")) and not has_ended(process):
            continue
        cluster.remove_node(second, allow_graceful=False)
        _, errors = process.communicate(timeout=300)
        assert process.returncode == 0, errors
    finally:
        cluster.shutdown()
        logging.setLogRecordFactory(records)  # Ray adds a field to all records of the process
        del cluster
        gc.collect()  # Ray leaves sockets to the collector; no other test shall hear of them
    assert_same(table_of(output), table_of(tmp_path / "alone"))


def test_a_cluster_that_does_not_answer_is_one_line_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = images_in(tmp_path / "in", 1)
    assert embed(source, tmp_path / "out", "--ray", "127.0.0.1:1") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("bulk: --ray 127.0.0.1:1: no Ray cluster answers there")
    assert not (tmp_path / "out").exists()


def has_ended(process: "subprocess.Popen[str]") -> bool:
    """Whether it has, after waiting a moment."""
    try:
        process.wait(0.1)
    except subprocess.TimeoutExpired:
        return False
    return True
