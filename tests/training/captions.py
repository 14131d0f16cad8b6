"""English captions of emoji: short names, keywords that few emoji share, and everyday templates."""

import random
from collections import Counter

from tests.training.data import Emoji

TEMPLATES = (
    "{}",
    "{}",
    "{}",
    "a {}",
    "the {}",
    "a photo of a {}",
    "a picture of a {}",
    "an emoji of a {}",
    "{} emoji",
)
COMMON = 3  # a keyword that more emoji than this share names none of them


class Captions:
    """Draws a caption for an emoji: its name half of the time, else a keyword or two."""

    def __init__(self, emoji: list[Emoji], seed: int) -> None:
        self._random = random.Random(seed)
        shared = Counter(keyword for item in emoji for keyword in set(item.keywords.get("en", [])))
        self._names = [item.names["en"] for item in emoji]
        self._keywords = [item.keywords.get("en", []) for item in emoji]
        self._own = [[word for word in words if shared[word] <= COMMON] for words in self._keywords]

    def draw(self, index: int) -> str:
        """A caption of emoji `index`."""
        choice = self._random.random()
        if choice < 0.25 and self._own[index]:
            text = self._random.choice(self._own[index])
        elif choice < 0.35 and len(self._keywords[index]) > 1 and self._own[index]:
            own = self._random.choice(self._own[index])
            text = f"{own} {self._random.choice(self._keywords[index])}"
        else:
            text = self._names[index]
        text = self._random.choice(TEMPLATES).format(text)
        return text.capitalize() if self._random.random() < 0.1 else text
