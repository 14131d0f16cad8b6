"""Everything but HTTP: settings, models, images, batching. Knows no flask."""
