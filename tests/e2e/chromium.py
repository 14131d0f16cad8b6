"""Finds the tests' Chromium. `python -m tests.e2e.chromium` prints its path, or exits with 1."""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


def find_chromium() -> Path | None:
    """The system's Chromium or Chrome, else the one that Playwright has downloaded, else None."""
    for name in NAMES:
        if found := shutil.which(name):
            return Path(found)
    with sync_playwright() as playwright:
        downloaded = Path(playwright.chromium.executable_path)
    return downloaded if downloaded.is_file() else None


if __name__ == "__main__":
    path = find_chromium()
    if path is None:
        sys.exit(f"none of {', '.join(NAMES)} is here, and Playwright has downloaded none")
    print(path)
