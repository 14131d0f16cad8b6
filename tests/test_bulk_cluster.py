"""A run on a real Ray cluster of two nodes, on this machine alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.bulk_runs import DEMO, embed, images_in, start, table_of

COUNT = 60
STORE_BYTES = 80_000_000
LOOPBACK: dict[str, Any] = {"node_ip_address": "127.0.0.1"}


@pytest.mark.filterwarnings("default")
def test_a_node_that_is_lost_in_the_middle_loses_and_doubles_nothing(tmp_path: Path) -> None:
    from ray.cluster_utils import Cluster

    source = images_in(tmp_path / "in", COUNT)
    assert embed(source, tmp_path / "alone", "--shard-rows", 4) == 0
    head = {"num_cpus": 1, "include_dashboard": False, **LOOPBACK, "object_store_memory": STORE_BYTES}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    try:
        second = cluster.add_node(num_cpus=1, object_store_memory=STORE_BYTES, **LOOPBACK)
        cluster.wait_for_nodes()
        output = tmp_path / "out"
        run = ("embed", source, output, *DEMO, "--shard-rows", 4, "--threads", 1)
        process = start(*run, "--ray", cluster.address)
        while process.poll() is None and not list(output.glob("part-*")):
            pass
        cluster.remove_node(second, allow_graceful=False)
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    finally:
        cluster.shutdown()
    found, expected = table_of(output), table_of(tmp_path / "alone")
    assert found.column("path").to_pylist() == expected.column("path").to_pylist()
    ours, theirs = (
        np.array(table.column("image_vector").to_pylist()) for table in (found, expected)
    )
    assert (ours * theirs).sum(axis=1).min() >= 0.99999
