"""The engine that serves bundles with ONNX Runtime on a CPU, without torch."""

import threading

from common.cloud_storage import CloudStorage
from common.errors import ModelUnavailable
from common.models.bundle import Bundle, find_bundle
from common.models.bundle_fingerprint import fingerprints_of
from common.models.fingerprint import Fingerprints
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder

PRECISIONS = ("auto", "int8", "fp32")
NO_BUNDLE = "no bundle in its weights folder (`make export` writes one)"


class OnnxEngine:
    """Serves a bundle from the weights folder, from a bucket, or one that ships with the model."""

    name = "onnx"

    def __init__(self, storage: CloudStorage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        # By model and URI, so that both towers come from the same export.
        self._remote: dict[tuple[str, str], Bundle] = {}

    def unfit(self, options: EngineOptions) -> str:
        """Why a bundle cannot run with these options; empty if it can."""
        if options.device == "cuda":
            return "the onnx engine runs only on a CPU, but CLIP_DEVICE is cuda"
        if options.precision not in PRECISIONS:
            return f"the onnx engine has int8 and fp32, but CLIP_PRECISION is {options.precision}"
        return ""

    def refusal(self, spec: ModelSpec, options: EngineOptions) -> str:
        """Empty if the model has a bundle. Raises ModelUnavailable for a broken bundle."""
        return "" if self._find(spec, options) else NO_BUNDLE

    def fingerprints(self, spec: ModelSpec, options: EngineOptions) -> Fingerprints | None:
        """From the manifest of the bundle, if the bundle is here."""
        if options.weights_uri:
            with self._lock:
                bundle = self._remote.get((spec.id, options.weights_uri))
        else:
            bundle = find_bundle(spec, options)
        return fingerprints_of(bundle, options) if bundle else None

    def foresee(self, spec: ModelSpec, options: EngineOptions) -> str:
        """Why a bundle in a folder cannot be loaded; a bucket is not asked."""
        if options.weights_uri:
            return ""
        try:
            return self.refusal(spec, options)
        except ModelUnavailable as error:
            return str(error)

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        """Load the text tower of the bundle and run it once. Raises ModelUnavailable."""
        from common.models import onnx_engine

        return onnx_engine.load_text_encoder(self._bundle(spec, options), options)

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        """Load the image tower of the bundle. Raises ModelUnavailable."""
        from common.models import onnx_engine

        return onnx_engine.load_image_encoder(self._bundle(spec, options), options)

    def _bundle(self, spec: ModelSpec, options: EngineOptions) -> Bundle:
        bundle = self._find(spec, options)
        if bundle is None:
            raise ModelUnavailable(f"model {spec.id}: {NO_BUNDLE}")
        return bundle

    def _find(self, spec: ModelSpec, options: EngineOptions) -> Bundle | None:
        if not options.weights_uri:
            return find_bundle(spec, options)
        from common.models.remote_bundle import open_remote_bundle

        key = spec.id, options.weights_uri
        with self._lock:
            if key not in self._remote:
                self._remote[key] = open_remote_bundle(options.weights_uri, spec, self._storage)
            return self._remote[key]
