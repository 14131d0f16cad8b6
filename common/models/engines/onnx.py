"""The engine that serves bundles with ONNX Runtime, on a CPU, without torch."""

import threading

from common.cloud_storage import CloudStorage
from common.errors import ModelUnavailable
from common.models.bundle import Bundle, find_bundle
from common.models.spec import EngineOptions, ImageEncoder, ModelSpec, TextEncoder

PRECISIONS = ("auto", "int8", "fp32")
NO_BUNDLE = "no bundle in its weights folder (`make export` writes one)"


class OnnxEngine:
    """Serves a bundle from the weights folder, from a bucket, or the one that ships with the model."""

    name = "onnx"

    def __init__(self, storage: CloudStorage) -> None:
        self._storage = storage
        self._lock = threading.Lock()
        self._remote: dict[
            tuple[str, str], Bundle
        ] = {}  # by model and URI: both towers of one export

    def unfit(self, options: EngineOptions) -> str:
        """Why a bundle cannot be run under these options; empty if it can."""
        if options.device == "cuda":
            return "the onnx engine runs on a CPU, not on cuda"
        if options.precision not in PRECISIONS:
            return f"the onnx engine serves int8 and fp32, not {options.precision}"
        return ""

    def refusal(self, spec: ModelSpec, options: EngineOptions) -> str:
        """Empty if there is a bundle. Raises ModelUnavailable for a broken one."""
        return "" if self._find(spec, options) else NO_BUNDLE

    def load_text(self, spec: ModelSpec, options: EngineOptions) -> TextEncoder:
        """See Engine."""
        from common.models import onnx_engine

        return onnx_engine.load_text_encoder(self._bundle(spec, options), options)

    def load_image(self, spec: ModelSpec, options: EngineOptions) -> ImageEncoder:
        """See Engine."""
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
