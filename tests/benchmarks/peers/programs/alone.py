"""Measures the encoders of one engine in this process, without a server.

    python alone.py ENGINE WEIGHTS SECONDS [prepare]

ENGINE is a name of LOADERS, and this file runs in its environment. Prints JSON: the milliseconds
from the import to the first text and image, the memory after them, and the rates.
"""

import io
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IDS = [49406, 320, 3240, 320, 3240, 320, 3240, 320, 49407]  # nine tokens
LENGTH, SIZE, TEXTS, IMAGES = 77, 224, 32, 8
Encode = Callable[[Any], object]
Loaded = tuple[Encode | None, Encode]  # of texts, if it has a tower for them, and of images


def ours(folder: Path, precision: str) -> Loaded:
    """This function's encoders."""
    from common.machine import usable_cores
    from common.models import onnx_engine
    from common.models.bundle import read_bundle
    from common.models.catalog import resolve
    from common.models.spec import EngineOptions

    spec = resolve("clip")
    options: Any = {"num_threads": usable_cores(), "precision": precision}
    bundle = read_bundle(spec.folder_in(folder), spec)
    text: Any = onnx_engine.load_text_encoder(bundle, EngineOptions(folder, **options))
    image = onnx_engine.load_image_encoder(bundle, EngineOptions(folder, **options))
    return lambda ids: text.encode([IDS] * len(ids)), image.encode


def modern_onnx_clip(folder: Path) -> Loaded:
    """Float32 graphs in ONNX Runtime at its default settings."""
    from onnx_clip import OnnxClip

    clip = OnnxClip(str(folder), silent=True)

    def encode(session: Any) -> Encode:
        return lambda batch: session.run(None, {session.get_inputs()[0].name: batch})

    return encode(clip.textual_session), _pixels(encode(clip.visual_session))


def openvino(folder: Path) -> Loaded:
    """The same graphs, quantized to int8 by NNCF at the first call, which does not count."""
    import openvino as ov

    core = ov.Core()
    text, image = (
        core.compile_model(_quantized(folder / f"{name}.onnx", example), "CPU")
        for name, example in (("textual", _texts(1)), ("visual", _floats(_images(1))))
    )
    return text, _pixels(image)


def faster_clip(folder: Path) -> Loaded:
    """A Rust engine with int8 weights, which decodes JPEGs itself. Its text tower is another."""
    cache = folder.with_name("faster-clip")
    expected = cache / "sentence-transformers__clip-ViT-B-32" / "0_CLIPModel"
    if not expected.exists():
        expected.parent.mkdir(parents=True)
        expected.symlink_to(folder)
    os.environ["FASTER_CLIP_CACHE"] = str(cache)
    import faster_clip
    import numpy as np
    from PIL import Image

    clip = faster_clip.ClipModel()

    def encode(images: Any) -> object:
        return clip.encode_image([photo] * len(images))

    file = io.BytesIO()
    small = np.random.default_rng(0).integers(0, 256, (30, 40, 3)).astype(np.uint8)
    Image.fromarray(small).resize((640, 480)).save(file, "JPEG")
    photo = file.getvalue()
    return None, encode


LOADERS: dict[str, Callable[[Path], Loaded]] = {
    "int8": lambda folder: ours(folder, "int8"),
    "fp32": lambda folder: ours(folder, "fp32"),
    "modern-onnx-clip": modern_onnx_clip,
    "openvino": openvino,
    "faster-clip": faster_clip,
}


def _texts(count: int) -> Any:
    import numpy as np

    padded = np.zeros((count, LENGTH), np.int64)
    padded[:, : len(IDS)] = IDS
    return padded


def _images(count: int) -> Any:
    import numpy as np

    shape = (count, SIZE, SIZE, 3)
    return np.random.default_rng(count).integers(0, 256, shape).astype(np.uint8)


def _floats(images: Any) -> Any:
    import numpy as np

    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), np.float32) / 255


def _pixels(encode: Encode) -> Encode:
    """Convert uint8 pixels, as our graph takes them, to the floats that others take."""
    return lambda images: encode(_floats(images))


def _quantized(path: Path, example: Any) -> Path:
    target = path.with_suffix(".int8.xml")
    if not target.exists():
        import nncf
        import openvino as ov

        model, data = ov.Core().read_model(path), nncf.Dataset([example] * 4)
        kind = nncf.ModelType.TRANSFORMER
        ov.save_model(nncf.quantize(model, data, model_type=kind, subset_size=4), target)
    return target


def memory_mb() -> float:
    """PSS of this process."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000


def rate(encode: Encode, batch: Any, seconds: float) -> float:
    """Items a second, after one call that does not count."""
    encode(batch)
    count, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        encode(batch)
        count += 1
    return len(batch) * count / (time.perf_counter() - started)


def main(engine: str, weights: str, seconds: str) -> None:
    """Measure and print."""
    started = time.perf_counter()
    text, image = LOADERS[engine](Path(weights))
    for encode, batch in ((text, _texts(1)), (image, _images(1))):
        if encode:
            encode(batch)
    figures = {"start": (time.perf_counter() - started) * 1000, "memory": memory_mb()}
    if text:
        figures["texts"] = rate(text, _texts(TEXTS), float(seconds))
    figures["images"] = rate(image, _images(IMAGES), float(seconds))
    print(json.dumps(figures))


if __name__ == "__main__":
    main(*sys.argv[1:])
