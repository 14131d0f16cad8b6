"""Images that wait for memory, a core or a turn: waiting is not decoding, and loses nothing."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from common.allowance import Allowance
from common.errors import ImageTimeout, TooComplex, TooManyPixels
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.images.memory_budget import (
    LEAST_DECODE_BYTES,
    MOST_DECODE_BYTES,
    LargeTurn,
    LargeTurns,
    MemoryBudget,
    decode_bytes,
)
from common.models.spec import Pixels
from tests.decoding import PREPROCESSING
from tests.hostile.seeds import colours, png_bomb
from tests.variants import saved

SIZE = (600, 400)
LARGE = {
    "jpeg": lambda: saved(colours("RGB", SIZE), "JPEG"),
    "jpeg-progressive": lambda: saved(colours("RGB", SIZE), "JPEG", progressive=True),
    "png": lambda: saved(colours("RGBA", SIZE), "PNG", compress_level=1),
    "webp": lambda: saved(colours("RGB", SIZE), "WEBP", method=0),
    "webp-lossless": lambda: saved(
        colours("RGB", SIZE), "WEBP", lossless=True, quality=0, method=0
    ),
    "gif": lambda: saved(colours("P", SIZE), "GIF"),
    "bmp": lambda: saved(colours("RGB", SIZE), "BMP"),
    "avif": lambda: saved(colours("RGB", SIZE), "AVIF", speed=10),
}


@pytest.mark.parametrize("name", LARGE)
def test_images_that_wait_for_each_others_memory_are_all_decoded(name: str) -> None:
    """The decodes' clock of 0.5 s is far shorter than the wait of the last of them."""
    data = LARGE[name]()
    memory = MemoryBudget(5_000_000)  # for one or two at a time
    limits, allowance = DecodeLimits(seconds=0.5), Allowance.lasting(60)

    def decode(_: int) -> Pixels:
        return prepare(data, PREPROCESSING, limits, allowance, memory)

    with ThreadPoolExecutor(16) as pool:
        results = list(pool.map(decode, range(64)))
    assert all((pixels == results[0]).all() for pixels in results)


def test_the_time_that_an_image_waits_for_memory_does_not_count_as_decoding() -> None:
    memory, taken, waited = MemoryBudget(50_000_000), threading.Event(), 0.2

    def hold() -> None:
        with memory.reserve(50_000_000, time.monotonic() + 1):
            taken.set()
            threading.Event().wait(waited)

    holder = threading.Thread(target=hold)
    holder.start()
    assert taken.wait(5)
    prepare(
        LARGE["png"](), PREPROCESSING, DecodeLimits(seconds=waited), Allowance.lasting(30), memory
    )
    holder.join()


def test_an_image_that_gets_no_memory_before_the_deadline_may_be_tried_again() -> None:
    memory = MemoryBudget(10_000_000)
    with memory.reserve(10_000_000, time.monotonic() + 1), pytest.raises(ImageTimeout) as raised:
        prepare(LARGE["png"](), PREPROCESSING, DecodeLimits(), Allowance.lasting(0.05), memory)
    assert raised.value.retryable


def test_a_request_whose_time_is_over_is_a_timeout_and_not_a_fault_of_the_image() -> None:
    with pytest.raises(ImageTimeout):
        prepare(LARGE["png"](), PREPROCESSING, DecodeLimits(), Allowance.lasting(-1))
    with pytest.raises(TooComplex):
        prepare(LARGE["png"](), PREPROCESSING, DecodeLimits(seconds=-1), Allowance.lasting(30))


def test_what_the_request_holds_beside_an_image_counts() -> None:
    memory, data = MemoryBudget(20_000_000), LARGE["png"]()
    prepare(data, PREPROCESSING, DecodeLimits(), Allowance.lasting(30).holding(1_000_000), memory)
    with pytest.raises(TooManyPixels, match="decoding the image takes"):
        prepare(
            data, PREPROCESSING, DecodeLimits(), Allowance.lasting(30).holding(19_500_000), memory
        )


def test_large_files_take_turns_in_the_order_in_which_they_asked() -> None:
    turns, order, started = LargeTurns(count=1), [], []
    first = LargeTurn(turns)
    assert first.take(0)
    assert not LargeTurn(turns).take(0)

    def wait(number: int) -> None:
        with LargeTurn(turns) as turn:
            assert turn.take(30)
            order.append(number)

    for number in range(4):
        thread = threading.Thread(target=wait, args=(number,))
        thread.start()
        started.append(thread)
        while turns.waiting <= number:
            threading.Event().wait(0.001)
    first.__exit__()
    for thread in started:
        thread.join(30)
    assert order == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("instance_mib", "budget_bytes"),
    [
        (512, LEAST_DECODE_BYTES),
        (1024, 256 * 2**20),
        (2048, MOST_DECODE_BYTES),
        (65536, MOST_DECODE_BYTES),
    ],
)
def test_the_budget_grows_with_the_instance_within_bounds(
    instance_mib: int, budget_bytes: int
) -> None:
    assert decode_bytes(instance_mib * 2**20) == budget_bytes


def test_a_png_of_24_megapixels_with_transparency_fits_the_budget_of_2_gib() -> None:
    memory = MemoryBudget(decode_bytes(2 * 2**30))
    data = png_bomb(6000, 4000, 6)
    assert prepare(data, PREPROCESSING, DecodeLimits(), Allowance.lasting(60), memory).shape == (
        32,
        32,
        3,
    )
