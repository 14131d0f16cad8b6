"""Reads the frame sizes of an AV1 stream from its headers, and the memory that each frame takes.

A sequence header states the largest frame size. A frame header may state another size, and decoders
accept one that is larger. So this module reads the size in each frame header too.
Reference: AV1 Bitstream & Decoding Process Specification, 5.5 (sequence header) and 5.9 (frame
header).
"""

from dataclasses import dataclass

from common.errors import CorruptImage

SEQUENCE_HEADER = 1
FRAME_HEADERS = (3, 6, 7)  # a header alone, with its tiles, and repeated
# More than any header has before its frame size: at most 32 operating points of 89 bits.
HEADER_BYTES = 512
REFERENCES = 7  # frames that one frame may refer to
ALL_SLOTS = 0xFF  # the frame is stored in all eight reference slots
KEY, INTRA_ONLY, SWITCH = 0, 2, 3  # frame types
BLOCK = 128  # pixels: decoders round both sides of a frame up to whole superblocks
SCRATCH = 1.25  # a decoder's bytes per pixel for blocks and filters; 0.9 were measured


class Bits:
    """Reads numbers of any bit width, the highest bit first."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._place = 0

    def read(self, count: int) -> int:
        """The next `count` bits as a number. Raises CorruptImage at the end of the data."""
        end = self._place + count
        if end > 8 * len(self._data):
            raise CorruptImage("the AVIF file ends inside a table or a header")
        value = int.from_bytes(self._data[self._place // 8 : -(-end // 8)], "big") >> (-end % 8)
        self._place = end
        return value & ((1 << count) - 1)


@dataclass(frozen=True)
class Frame:
    """One coded frame: its size in pixels, and the bytes that a decoder keeps for it."""

    width: int
    height: int
    held_bytes: int


@dataclass
class Sequence:
    """The fields of a sequence header that give frame sizes or are needed to read frame headers."""

    is_reduced: bool = False
    equal_intervals: bool = False
    removal_bits: int = 0  # buffer_removal_time_length, 0 without a decoder model
    presentation_bits: int = 0
    points: tuple[tuple[int, bool], ...] = ()  # each operating point: layers, has a decoder model
    width_bits: int = 0
    height_bits: int = 0
    width: int = 0
    height: int = 0
    id_bits: int = 0  # frame ids, 0 without them
    delta_id_bits: int = 0
    order_bits: int = 0  # OrderHintBits
    screen_content: int = 2  # 0, 1, or 2: set by each frame
    integer_vectors: int = 2
    extra_frames: int = 0  # further copies, for super-resolution and film grain
    sample_bytes: int = 1
    chroma: float = 2.0  # samples of both chroma planes per luma sample

    def held_bytes(self, width: int, height: int) -> int:
        """The bytes that a decoder keeps for a frame of this size."""
        pixels = -(-width // BLOCK) * -(-height // BLOCK) * BLOCK**2
        copies = 1 + self.extra_frames
        return int(pixels * (copies * self.pixel_bytes() + SCRATCH))

    def pixel_bytes(self) -> float:
        """The bytes of all planes per pixel."""
        return self.sample_bytes * (1 + self.chroma)


def parse_sequence(data: bytes) -> Sequence:
    """Read the content of a sequence header (5.5.1). Raises CorruptImage."""
    bits, sequence = Bits(data), Sequence()
    profile = bits.read(3)
    bits.read(1)  # still_picture
    sequence.is_reduced = bool(bits.read(1))
    if sequence.is_reduced:
        bits.read(5)
        sequence.points = ((0, False),)
    else:
        _read_operating_points(bits, sequence)
    sequence.width_bits = bits.read(4) + 1
    sequence.height_bits = bits.read(4) + 1
    sequence.width = bits.read(sequence.width_bits) + 1
    sequence.height = bits.read(sequence.height_bits) + 1
    if not sequence.is_reduced and bits.read(1):  # frame_id_numbers_present_flag
        sequence.delta_id_bits = bits.read(4) + 2
        sequence.id_bits = bits.read(3) + sequence.delta_id_bits + 1
    bits.read(3)  # superblocks, filter_intra, intra_edge_filter
    if not sequence.is_reduced:
        _read_tools(bits, sequence)
    sequence.extra_frames = bits.read(1)  # enable_superres
    bits.read(2)  # cdef, restoration
    _read_colours(bits, sequence, profile)
    sequence.extra_frames += bits.read(1)  # film_grain_params_present
    return sequence


def _read_operating_points(bits: Bits, sequence: Sequence) -> None:
    delay_bits = _read_timing(bits, sequence) if bits.read(1) else 0  # timing_info_present_flag
    has_display_delay = bits.read(1)
    points = []
    for _ in range(bits.read(5) + 1):
        layers = bits.read(12)
        if bits.read(5) > 7:  # seq_level_idx; higher levels have a tier
            bits.read(1)
        has_model = bool(delay_bits and bits.read(1))
        if has_model:
            bits.read(2 * delay_bits + 1)
        if has_display_delay and bits.read(1):
            bits.read(4)
        points.append((layers, has_model))
    sequence.points = tuple(points)


def _read_timing(bits: Bits, sequence: Sequence) -> int:
    """Read the timing; returns the bits of operating points' delays, 0 without a decoder model."""
    bits.read(64)
    sequence.equal_intervals = bool(bits.read(1))
    if sequence.equal_intervals:  # a number with as many bits as zeros before it
        zeros = next((count for count in range(32) if bits.read(1)), None)
        if zeros is None:
            raise CorruptImage("the AVIF file has an invalid number in a header")
        bits.read(zeros)
    if not bits.read(1):  # decoder_model_info_present_flag
        return 0
    delay_bits = bits.read(5) + 1
    bits.read(32)
    sequence.removal_bits = bits.read(5) + 1
    sequence.presentation_bits = bits.read(5) + 1
    return delay_bits


def _read_tools(bits: Bits, sequence: Sequence) -> None:
    bits.read(4)  # interintra, masked, warped, dual filter
    has_order = bits.read(1)
    if has_order:
        bits.read(2)
    sequence.screen_content = 2 if bits.read(1) else bits.read(1)
    if sequence.screen_content:
        sequence.integer_vectors = 2 if bits.read(1) else bits.read(1)
    if has_order:
        sequence.order_bits = bits.read(3) + 1


def _read_colours(bits: Bits, sequence: Sequence, profile: int) -> None:
    """Read color_config (5.5.2)."""
    high_depth = bits.read(1)
    is_twelve = profile == 2 and high_depth and bits.read(1)
    sequence.sample_bytes = 2 if high_depth else 1
    is_monochrome = profile != 1 and bits.read(1)
    described = tuple(bits.read(8) for _ in range(3)) if bits.read(1) else ()
    if is_monochrome:
        sequence.chroma = 0.0
        bits.read(1)
        return
    if described == (1, 13, 0):  # sRGB as identity
        bits.read(1)
        return
    bits.read(1)
    across, down = _subsampling(bits, profile, bool(is_twelve))
    sequence.chroma = 2.0 / (across * down)
    if across * down == 4:
        bits.read(2)  # chroma_sample_position
    bits.read(1)  # separate_uv_delta_q


def _subsampling(bits: Bits, profile: int, is_twelve: bool) -> tuple[int, int]:
    if profile == 0:
        return 2, 2
    if profile == 1:
        return 1, 1
    if not is_twelve:
        return 2, 1
    if not bits.read(1):
        return 1, 1
    return 2, 2 if bits.read(1) else 1


def read_frame(data: bytes, sequence: Sequence, layers: tuple[int, int]) -> Frame | None:
    """Read a frame header (5.9.2) up to its size; None if it only shows an earlier frame.

    `layers` are the temporal and the spatial id. A frame that takes its size from an earlier frame
    is 0 × 0. An invalid header counts as the largest frame that it could describe.
    """
    try:
        size = _FrameHeader(data, sequence, layers).size()
    except CorruptImage:
        size = (1 << sequence.width_bits, 1 << sequence.height_bits)
    return None if size is None else Frame(*size, sequence.held_bytes(*size))


class _FrameHeader:
    """Reads a frame header up to the frame's size."""

    def __init__(self, data: bytes, sequence: Sequence, layers: tuple[int, int]) -> None:
        self._bits = Bits(data)
        self._sequence = sequence
        self._layers = layers
        self._kind = KEY
        self._is_shown = True
        self._is_resilient = True

    def size(self) -> tuple[int, int] | None:
        """(width, height); (0, 0) if taken from a reference; None if there is no new frame."""
        bits, sequence = self._bits, self._sequence
        largest = (sequence.width, sequence.height)
        if sequence.is_reduced:
            return largest
        if bits.read(1):  # show_existing_frame
            return None
        self._read_kind()
        self._skip_tools()
        bits.read(sequence.id_bits)
        if self._kind != SWITCH and not bits.read(1):  # frame_size_override_flag
            return largest
        self._skip_order()
        if not self._is_intra:
            self._skip_references()
            if not self._is_resilient and any(bits.read(1) for _ in range(REFERENCES)):  # found_ref
                return 0, 0
        return bits.read(sequence.width_bits) + 1, bits.read(sequence.height_bits) + 1

    @property
    def _is_intra(self) -> bool:
        return self._kind in (KEY, INTRA_ONLY)

    @property
    def _refreshes_all(self) -> bool:
        return self._kind == SWITCH or (self._kind == KEY and self._is_shown)

    def _read_kind(self) -> None:
        bits = self._bits
        self._kind = bits.read(2)
        self._is_shown = bool(bits.read(1))
        if self._is_shown and not self._sequence.equal_intervals:
            bits.read(self._sequence.presentation_bits)
        if not self._is_shown:
            bits.read(1)  # showable_frame
        self._is_resilient = self._refreshes_all or bool(bits.read(1))

    def _skip_tools(self) -> None:
        bits, sequence = self._bits, self._sequence
        bits.read(1)  # disable_cdf_update
        has_screen_content = (
            bits.read(1) if sequence.screen_content == 2 else sequence.screen_content
        )
        if has_screen_content and sequence.integer_vectors == 2:
            bits.read(1)

    def _skip_order(self) -> None:
        bits, sequence = self._bits, self._sequence
        bits.read(sequence.order_bits)
        if not self._is_intra and not self._is_resilient:
            bits.read(3)  # primary_ref_frame
        if sequence.removal_bits and bits.read(1):
            for layers, has_model in sequence.points:
                if has_model and self._is_within(layers):
                    bits.read(sequence.removal_bits)
        refreshed = ALL_SLOTS if self._refreshes_all else bits.read(8)
        if self._is_resilient and not (self._is_intra and refreshed == ALL_SLOTS):
            bits.read(8 * sequence.order_bits)

    def _is_within(self, layers: int) -> bool:
        temporal, spatial = self._layers
        return not layers or bool(layers >> temporal & 1 and layers >> (spatial + 8) & 1)

    def _skip_references(self) -> None:
        bits, sequence = self._bits, self._sequence
        is_short = bool(sequence.order_bits and bits.read(1))
        if is_short:
            bits.read(6)
        for _ in range(REFERENCES):
            if not is_short:
                bits.read(3)
            bits.read(sequence.delta_id_bits)
