"""Text files with one URL or one text per line. The first line decides which."""

from collections.abc import Sequence
from dataclasses import replace

from bulk.inputs.reader import Columns, Listing, Reader
from bulk.inputs.streams import LINE, lines_of
from bulk.inputs.tables import Tables
from bulk.location import Location

URL_STARTS = (b"http://", b"https://", b"gs://", b"data:")


class TextFiles(Tables):
    """Each line is an image's URL if the first line is a URL, else a text."""

    def open(
        self, root: Location, files: Sequence[Location], columns: Columns, listing: Listing
    ) -> Reader:
        """See Format. `--text-column line` and `--image-column line` decide for all lines."""
        if not columns.text and not columns.image:
            first = next(lines_of(files[0]), [b""])[0].lower()
            kind = "image" if first.startswith(URL_STARTS) else "text"
            columns = replace(columns, **{kind: LINE})
        return super().open(root, files, columns, listing)
