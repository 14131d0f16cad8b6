"""Decodes an image for the tests of decoders: to 32 × 32 pixels, with enough time."""

from common.allowance import Allowance
from common.images.decode import prepare
from common.images.limits import DecodeLimits
from common.models.spec import Pixels, Preprocessing

PREPROCESSING = Preprocessing(size=32, mean=(0, 0, 0), std=(1, 1, 1))
DEADLINE_S = 30


def decode(
    data: bytes, preprocessing: Preprocessing = PREPROCESSING, limits: DecodeLimits | None = None
) -> Pixels:
    """(32, 32, 3) uint8, or as `preprocessing` says. Raises what `prepare` raises."""
    allowance = Allowance.lasting(DEADLINE_S)
    return prepare(data, preprocessing, limits or DecodeLimits(), allowance)
