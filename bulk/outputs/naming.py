"""Which parts a folder has."""

import re

from bulk.location import Location


def parts_in(folder: Location, pattern: re.Pattern[str]) -> dict[int, str]:
    """Shard → stamp of each file whose name fits; a stamp changes with the file's size and time."""
    return {
        int(match[1]): f"{file.size}-{file.mtime_ns}"
        for file in folder.files()
        if (match := pattern.fullmatch(file.base_name))
    }
