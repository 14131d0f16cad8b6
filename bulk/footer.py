"""Reads what a parquet file says of itself, from its end."""

import pyarrow.parquet as pq

from bulk.location import Location

READERS = 16  # files of a bucket that are read at the same time


def footer_of(location: Location) -> pq.FileMetaData:
    """The metadata of a parquet file. Raises OSError, pa.ArrowInvalid.

    For a bucket, pyarrow lets other threads go on only in its datasets, which take longer to
    import.
    """
    if location.is_local:
        with location.open() as file:
            return pq.read_metadata(file)
    from pyarrow import dataset

    fragment = dataset.ParquetFileFormat().make_fragment(location.path, location.filesystem)
    fragment.ensure_complete_metadata()
    return fragment.metadata
