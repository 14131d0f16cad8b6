"""A folder of images: each file is a row, its path below the folder is its id."""

from collections.abc import Iterable, Sequence

import pyarrow as pa

from bulk.errors import BadInput
from bulk.inputs.reader import Columns, InputFile, Listing, Reader
from bulk.inputs.values import relative_image
from bulk.location import Location
from bulk.rows import Rows
from bulk.shards import Span

ID = "path"


class FolderReader:
    """Rows are the image files below a folder, sorted by path."""

    row_bytes = 100.0  # a path

    def __init__(self, root: Location, files: Sequence[Location], columns: Columns) -> None:
        if columns.text or columns.keep or columns.id not in ("", ID):
            raise BadInput(f"{root.uri}: a folder of images has no columns but {ID!r}")
        self.columns = Columns(image=columns.image or ID, id=ID)
        start = len(root.path.rstrip("/")) + 1
        self.files = [InputFile(file.path[start:], file.seen().size, 1) for file in files]

    def read(self, spans: Iterable[Span], first_row: int) -> Rows:  # noqa: ARG002
        """See Reader: the images' bytes are read later, side by side."""
        paths = [self.files[span.file].path for span in spans]
        images = [relative_image(path) for path in paths]
        return Rows(pa.table({ID: pa.array(paths, pa.string())}), None, images)


class ImageFolder:
    """Folders of images, by the endings of their files."""

    endings = (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp"),
        *(".avif", ".heic", ".heif"),
    )

    def open(
        self,
        root: Location,
        files: Sequence[Location],
        columns: Columns,
        listing: Listing,  # noqa: ARG002 - a file is a row
    ) -> Reader:
        """See Format."""
        return FolderReader(root, files, columns)
