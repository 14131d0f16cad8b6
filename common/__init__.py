"""Everything but HTTP: settings, models, images, batching. Knows no flask."""

from common.config import disable_telemetry

disable_telemetry()  # here, since libraries read their switches once, when they are imported
