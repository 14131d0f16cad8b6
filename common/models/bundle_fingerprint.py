"""The fingerprints of a bundle, known from its manifest before a tower is loaded."""

from dataclasses import dataclass

from common.models.bundle import TOKENIZERS, Bundle, Manifest, TowerManifest
from common.models.fingerprint import (
    ImageIngredients,
    PrecisionClass,
    TextIngredients,
    image_fingerprint,
    pair_fingerprint,
    text_fingerprint,
)
from common.models.spec import EngineOptions, TowerName

TOWERS: tuple[TowerName, TowerName] = ("text", "image")
RANDOM = "random-"
CLEANED = ("json", "xlmr_cleaned")  # tokenizers whose cleaning the manifest names


@dataclass(frozen=True)
class Fingerprints:
    """Of texts' vectors, of images' vectors, and of the pair; those of random weights begin with `random-`."""

    text: str
    image: str
    pair: str


def fingerprints_of(bundle: Bundle, options: EngineOptions) -> Fingerprints:
    """As the options have the bundle served. Raises ModelUnavailable for a precision that it lacks."""
    text, image = (fingerprint_of(tower, bundle, options) for tower in TOWERS)
    prefix = RANDOM if bundle.manifest.random_weights else ""
    pair = pair_fingerprint(text.removeprefix(RANDOM), image.removeprefix(RANDOM))
    return Fingerprints(text, image, prefix + pair)


def fingerprint_of(tower: TowerName, bundle: Bundle, options: EngineOptions) -> str:
    """Of one side. Raises ModelUnavailable for a precision that the bundle lacks."""
    manifest, precision = bundle.manifest, bundle.choose(tower, options.precision)
    is_text = tower == "text"
    side = _text(manifest, precision) if is_text else _image(manifest, precision, options)
    return f"{RANDOM}{side}" if manifest.random_weights else side


def _text(manifest: Manifest, precision: PrecisionClass) -> str:
    text = manifest.text
    file = TOKENIZERS.get(text.tokenizer, "")
    ingredients = TextIngredients(
        weights_sha256=_weights(text),
        tokenizer=text.tokenizer,
        vocabulary_sha256=manifest.sha256.get(file, ""),
        context_length=text.context_length,
        cleaning=text.cleaning if text.tokenizer in CLEANED else None,
        erased_id=text.erased_id,
        precision=precision,
        dimensions=manifest.dimensions,
    )
    return text_fingerprint(ingredients)


def _image(manifest: Manifest, precision: PrecisionClass, options: EngineOptions) -> str:
    preprocessing = manifest.image.to_preprocessing(options.reference_preprocessing)
    ingredients = ImageIngredients(
        _weights(manifest.image), preprocessing.as_dict(), precision, manifest.dimensions
    )
    return image_fingerprint(ingredients)


def _weights(tower: TowerManifest) -> str:
    """Bundles of an earlier version know their weights by the file's sum alone."""
    return tower.tower_sha256 or tower.weights_sha256
