"""Build a model's bundle: write each tower in each precision and keep what passes the gate.

The fidelity gate compares a tower's vectors with those of the torch reference.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Generic, TypeVar

import onnx
from tqdm import tqdm

from common.errors import ModelUnavailable
from common.files import sha256_of
from common.models import onnx_engine, torch_engine
from common.models.bundle import (
    FORMAT,
    Bundle,
    BundlePrecision,
    Fidelity,
    ImageManifest,
    Manifest,
    TextManifest,
)
from common.models.spec import EncoderInfo, EngineOptions, ModelSpec, Pixels, TokenIds, Vectors
from common.models.tokenizer import JsonTokenizer
from export import fidelity, graphs
from export.lean_vocabulary import lean
from export.optimize import optimize
from export.quantize import RowQuantizer
from export.tables import separate_weights

Item = TypeVar("Item", TokenIds, Pixels)
Described = TypeVar("Described", TextManifest, ImageManifest)

MADE_WITH = ("torch", "open_clip_torch", "onnx", "onnxruntime")


@dataclass
class Reference(Generic[Item]):
    """The torch engine's vectors of a tower, over the evaluation set."""

    items: list[Item]
    vectors: Vectors
    info: EncoderInfo


class BundleBuilder:
    """Writes a model's bundle into a folder; `progress` counts the encoded items."""

    def __init__(
        self, spec: ModelSpec, options: EngineOptions, folder: Path, progress: "tqdm[Any]"
    ) -> None:
        self._spec = spec
        self._options = options
        self._folder = folder
        self._progress = progress
        self._ranked = fidelity.RANKED

    def run(self, precisions: Sequence[BundlePrecision], random_weights: bool) -> Manifest:
        """Write the bundle's files and return its manifest.

        Raises ModelUnavailable if a tower fails the gate in every precision. With random weights
        the gate compares cosines alone: all images get similar vectors, so their ranking is noise.
        """
        self._ranked = fidelity.FEW if random_weights else fidelity.RANKED
        text_manifest, texts = self._write_text(precisions)
        image_manifest, images = self._write_image(precisions)
        manifest = Manifest(
            format=FORMAT,
            model=self._spec.id,
            full_name=self._spec.full_name,
            dimensions=texts.info.dimensions,
            logit_scale=texts.info.logit_scale or images.info.logit_scale,
            logit_bias=texts.info.logit_bias
            if images.info.logit_bias is None
            else images.info.logit_bias,
            random_weights=random_weights,
            text=text_manifest,
            image=image_manifest,
            overlap={},
            sha256=self._sums(),
            versions={name: version(name) for name in MADE_WITH},
        )
        measured = {
            precision: self._measure(manifest, precision, texts, images) for precision in precisions
        }
        overlaps = {precision: overlap for precision, (_, _, overlap) in measured.items()}
        ranked = {} if random_weights else overlaps
        texts_measured = {key: value[0] for key, value in measured.items()}
        images_measured = {key: value[1] for key, value in measured.items()}
        text = self._judge(text_manifest, texts_measured, ranked)
        image = self._judge(image_manifest, images_measured, ranked)
        return manifest.model_copy(
            update={"text": text, "image": image, "overlap": overlaps, "sha256": self._sums()}
        )

    def _write_text(
        self, precisions: Sequence[BundlePrecision]
    ) -> tuple[TextManifest, Reference[TokenIds]]:
        self._progress.set_description("text tower")
        encoder = torch_engine.load_text_encoder(self._spec, self._options)
        tokenizer = encoder.tokenizer
        if isinstance(tokenizer, JsonTokenizer):
            tokenizer = lean(tokenizer) or tokenizer
        try:
            tokenizer.save(self._folder)
        except NotImplementedError as reason:
            message = f"{reason}, so a bundle is not possible; set CLIP_ENGINE=torch to serve it"
            raise ModelUnavailable(f"model {self._spec.id}: {message}") from reason
        module, length = graphs.plain_text(encoder)
        path = self._folder / "text.fp32.onnx"
        graphs.write_text(module, encoder.context_length, length, path)
        items = [tokens.ids for tokens in encoder.tokenize(fidelity.evaluation_texts(self._ranked))]
        manifest = TextManifest(
            files=self._write(path, precisions),
            weights_sha256=encoder.info.weights_sha256,
            tower_sha256=encoder.info.tower_sha256,
            context_length=encoder.context_length,
            pad_id=encoder.pad_id,
            length=length,
            **tokenizer.describe(),
        )
        return manifest, self._encode_reference(encoder, items)

    def _write_image(
        self, precisions: Sequence[BundlePrecision]
    ) -> tuple[ImageManifest, Reference[Pixels]]:
        self._progress.set_description("image tower")
        encoder = torch_engine.load_image_encoder(self._spec, self._options)
        preprocessing = encoder.preprocessing
        path = self._folder / "image.fp32.onnx"
        graphs.write_image(graphs.plain_image(encoder), preprocessing.size, path)
        settings = preprocessing.as_dict()
        del settings["reference"]  # the operator chooses it, not the bundle
        manifest = ImageManifest(
            files=self._write(path, precisions),
            weights_sha256=encoder.info.weights_sha256,
            tower_sha256=encoder.info.tower_sha256,
            preprocessing=settings,
        )
        return manifest, self._encode_reference(
            encoder, fidelity.evaluation_images(preprocessing, self._ranked)
        )

    def _write(
        self, path: Path, precisions: Sequence[BundlePrecision]
    ) -> dict[BundlePrecision, str]:
        """Write a tower's files and return their names by precision.

        `path` is the float32 file. It is removed if `precisions` does not include fp32.
        """
        files: dict[BundlePrecision, str] = {}
        if "int8" in precisions:
            files["int8"] = path.name.replace("fp32", "int8")
            onnx.save(RowQuantizer(onnx.load(path)).run(), self._folder / files["int8"])
            optimize(self._folder / files["int8"])
            separate_weights(self._folder / files["int8"])
        if "fp32" in precisions:
            optimize(path)
            separate_weights(path)
            files["fp32"] = path.name
        else:
            self._remove(path.name)
        return files

    def _encode_reference(self, encoder: Any, items: list[Item]) -> Reference[Item]:
        self._progress.reset(total=len(items))
        return Reference(
            items, fidelity.encode_all(encoder, items, self._progress.update), encoder.info
        )

    def _measure(
        self,
        manifest: Manifest,
        precision: BundlePrecision,
        texts: Reference[TokenIds],
        images: Reference[Pixels],
    ) -> tuple[Fidelity, Fidelity, float]:
        """Measure the fidelity of both towers and the overlap of their ranking.

        The bundle runs in the same engine that serves it.
        """
        bundle = Bundle(self._folder, manifest)
        options = replace(self._options, precision=precision)
        self._progress.set_description(f"fidelity of {precision}")
        self._progress.reset(total=len(texts.items) + len(images.items))
        text = onnx_engine.load_text_encoder(bundle, options)
        text_vectors = fidelity.encode_all(text, texts.items, self._progress.update)
        text_fidelity = fidelity.compare(text, texts.items, text_vectors, texts.vectors)
        del text  # free it before the other tower loads: each may take gigabytes
        image = onnx_engine.load_image_encoder(bundle, options)
        image_vectors = fidelity.encode_all(image, images.items, self._progress.update)
        image_fidelity = fidelity.compare(image, images.items, image_vectors, images.vectors)
        return (
            text_fidelity,
            image_fidelity,
            fidelity.overlap(
                text_vectors, image_vectors, texts.vectors, images.vectors, self._ranked
            ),
        )

    def _judge(
        self,
        described: Described,
        measured: dict[BundlePrecision, Fidelity],
        overlaps: dict[BundlePrecision, float],
    ) -> Described:
        """Add the fidelity to a tower's manifest, and remove the files of a precision that failed.

        `overlaps` is empty if the ranking means nothing. Raises ModelUnavailable if all precisions
        failed.
        """
        reasons = {
            key: fidelity.refusal(key, value, overlaps.get(key)) for key, value in measured.items()
        }
        rejected = {precision: reason for precision, reason in reasons.items() if reason}
        for precision in rejected:
            self._remove(described.files[precision])
        files = {
            precision: name
            for precision, name in described.files.items()
            if precision not in rejected
        }
        if not files:
            message = "; ".join(f"{precision}: {reason}" for precision, reason in rejected.items())
            raise ModelUnavailable(
                f"model {self._spec.id}: every precision of a tower fails the fidelity gate; "
                f"{message}"
            )
        return described.model_copy(
            update={"files": files, "fidelity": measured, "rejected": rejected}
        )

    def _remove(self, name: str) -> None:
        """Remove a graph's file, and the file of its weights if it has one."""
        for path in self._folder.glob(f"{name}*"):
            path.unlink()

    def _sums(self) -> dict[str, str]:
        return {path.name: sha256_of(path) for path in sorted(self._folder.iterdir())}
