"""Finds the parts in a folder."""

import re

from bulk.location import Location


def parts_in(folder: Location, pattern: re.Pattern[str]) -> dict[int, str]:
    """Shard → stamp, for each file whose name matches. A stamp has the file's size and time."""
    return {
        int(match[1]): f"{file.size}-{file.modified_ns}"
        for file in folder.files()
        if (match := pattern.fullmatch(file.name))
    }
