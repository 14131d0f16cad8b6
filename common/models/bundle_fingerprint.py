"""Compute the fingerprints of a bundle from its manifest, before any tower is loaded."""

from common.models.bundle import TOKENIZERS, Bundle, Manifest, TowerManifest
from common.models.fingerprint import (
    RANDOM,
    Fingerprints,
    ImageIngredients,
    PrecisionClass,
    TextIngredients,
    image_fingerprint,
    text_fingerprint,
)
from common.models.spec import EngineOptions, TowerName

TOWERS: tuple[TowerName, TowerName] = ("text", "image")
CLEANED = ("json", "pieces", "xlmr_cleaned")  # tokenizers whose cleaning the manifest names


def fingerprints_of(bundle: Bundle, options: EngineOptions) -> Fingerprints:
    """The fingerprints with which these options serve the bundle.

    Raises ModelUnavailable for a precision that the bundle does not have.
    """
    text, image = (fingerprint_of(tower, bundle, options) for tower in TOWERS)
    return Fingerprints.of_sides(text, image)


def fingerprint_of(tower: TowerName, bundle: Bundle, options: EngineOptions) -> str:
    """The fingerprint of one side of a bundle, when it is served with these options.

    Raises ModelUnavailable if the bundle does not have the precision.
    """
    manifest = bundle.manifest
    precision = bundle.choose(tower, options.precision)
    is_text = tower == "text"
    side = _text(manifest, precision) if is_text else _image(manifest, precision, options)
    return f"{RANDOM}{side}" if manifest.random_weights else side


def _text(manifest: Manifest, precision: PrecisionClass) -> str:
    text = manifest.text
    file = TOKENIZERS.get(text.tokenizer, "")
    is_converted = text.tokenizer == "pieces"  # from a tokenizer.json, whose ids it gives
    ingredients = TextIngredients(
        weights_sha256=_weights(text),
        tokenizer="json" if is_converted else text.tokenizer,
        vocabulary_sha256=text.vocabulary_sha256 or manifest.sha256.get(file, ""),
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
    """The sum that stands for a tower's weights; older bundles only have the weights file's sum."""
    return tower.tower_sha256 or tower.weights_sha256
