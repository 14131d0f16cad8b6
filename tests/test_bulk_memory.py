"""What a run holds in memory is bounded, however large its rows are."""

import threading
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from bulk.inputs import open_input
from bulk.inputs.reader import Columns
from bulk.room import Room
from bulk.shards import Span

MIB = 2**20


def test_room_is_given_by_pieces_and_by_bytes() -> None:
    room = Room(3, 100)
    room.enter(60)
    entered = threading.Event()

    def enter() -> None:
        room.enter(50)
        entered.set()

    waiting = threading.Thread(target=enter)
    waiting.start()
    room.enter(40)
    room.leave(40)
    assert not entered.is_set(), "50 do not fit beside 60"
    room.leave(60)
    waiting.join(10)
    assert entered.is_set()


def test_a_piece_larger_than_the_room_gets_in_alone() -> None:
    room = Room(2, 100)
    room.enter(500)
    room.leave(500)
    room.enter(100)


def test_a_large_row_group_is_not_read_as_a_whole(tmp_path: Path) -> None:
    images = pa.table({"image": [bytes(MIB)] * 96})
    path = tmp_path / "rows.parquet"
    pq.write_table(images, path, compression="none", use_dictionary=False, write_batch_size=1)
    del images
    _, reader = open_input(str(path), Columns())
    before = pa.total_allocated_bytes()
    rows = reader.read([Span(0, 0, 8)], 0)
    assert rows.size_bytes >= 8 * MIB
    assert pa.total_allocated_bytes() - before < 48 * MIB
