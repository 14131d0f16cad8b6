"""M-CLIP's text tower: the module of `multilingual_clip`, built from the checkpoint's shapes.

The package itself would first download the 2.24 GB of XLM-RoBERTa. The checkpoint replaces all of
those weights.
"""

from collections.abc import Sequence

import torch
from multilingual_clip.pt_multilingual_clip import MultilingualCLIP
from torch import Tensor, nn
from transformers import XLMRobertaConfig, XLMRobertaModel

from common.models import weights
from common.models.fingerprint import combined_sha256
from common.models.spec import (
    EncoderInfo,
    EngineOptions,
    ModelSpec,
    MultilingualTower,
    TokenIds,
    Tokens,
    Vectors,
)
from common.models.tokenizer import XlmrTokenizer
from common.models.torch_engine.runtime import (
    Runtime,
    check_warm_up,
    read_tensors,
    ready,
    refill_position_ids,
    tensors_sha256,
    text_info,
)

PAD_ID = 1
HEAD_WIDTH = 64  # the same in all XLM-RoBERTa models; tensor shapes give everything else
_EMBEDDINGS = "transformer.embeddings."


def load_text(
    spec: ModelSpec, tower: MultilingualTower, options: EngineOptions
) -> "MultilingualText":
    """Load M-CLIP's text tower and run it once. Raises ModelUnavailable.

    The module is built without memory of its own, on torch's meta device. Then it gets the
    checkpoint's mapped tensors.
    """
    runtime = Runtime.choose(options)
    folder = weights.local_folder(spec, "text", weights.MCLIP_FILES, options)
    if folder:
        file = weights.verify(weights.find_file(folder, weights.MCLIP_FILES, spec), spec)
        vocabulary = weights.find_file(folder, [weights.MCLIP_TOKENIZER], spec)
        weights.verify(vocabulary, spec)
    else:
        names = weights.MCLIP_FILES[::-1]  # the catalog pins the .bin file
        revision = tower.hub_revision
        path = weights.fetch_file(tower.hub_repo, names, spec, options, revision)
        file = weights.verify(path, spec, tower.weights_sha256)
        vocabulary = weights.fetch_file(
            tower.hub_repo, [weights.MCLIP_TOKENIZER], spec, options, revision
        )
    tensors = read_tensors(
        file.path, lambda name: not name.endswith("position_ids") and ".pooler." not in name
    )
    module = _build(tensors)
    dimensions = tensors["LinearTransformation.weight"].shape[0]
    tower_sha256 = combined_sha256(tensors_sha256(module), {"family": "mclip"})
    info = EncoderInfo(
        dimensions, file.sha256, "torch", runtime.device.type, runtime.precision,
        tower_sha256=tower_sha256,
    )  # fmt: skip
    tokenizer = XlmrTokenizer(vocabulary)
    encoder = MultilingualText(module, tokenizer, runtime, text_info(info, tokenizer))
    check_warm_up(
        encoder.encode([tokens.ids for tokens in encoder.tokenize(["warm up"])]), dimensions, spec
    )
    return encoder


def _config(tensors: dict[str, Tensor]) -> XLMRobertaConfig:
    words = tensors[f"{_EMBEDDINGS}word_embeddings.weight"]
    layers = {
        name.split(".")[3] for name in tensors if name.startswith("transformer.encoder.layer.")
    }
    return XLMRobertaConfig(  # type: ignore[no-untyped-call]
        vocab_size=words.shape[0],
        hidden_size=words.shape[1],
        num_hidden_layers=len(layers),
        num_attention_heads=words.shape[1] // HEAD_WIDTH,
        intermediate_size=tensors["transformer.encoder.layer.0.intermediate.dense.weight"].shape[0],
        max_position_embeddings=tensors[f"{_EMBEDDINGS}position_embeddings.weight"].shape[0],
        type_vocab_size=1,
        layer_norm_eps=1e-5,
        bos_token_id=0,
        pad_token_id=PAD_ID,
        eos_token_id=2,
    )


def _build(tensors: dict[str, Tensor]) -> nn.Module:
    config = _config(tensors)
    with torch.device("meta"):
        module: nn.Module = MultilingualCLIP.__new__(MultilingualCLIP)
        nn.Module.__init__(module)  # MultilingualCLIP's own __init__ would fetch the base model
        module.transformer = XLMRobertaModel(config, add_pooling_layer=False)  # type: ignore[no-untyped-call]
        module.LinearTransformation = nn.Linear(
            config.hidden_size, tensors["LinearTransformation.weight"].shape[0]
        )
    module.load_state_dict(tensors, strict=True, assign=True)
    refill_position_ids(module.transformer)
    return module


class MultilingualText:
    """M-CLIP's text tower: XLM-RoBERTa, masked mean, linear map, L2 normalisation."""

    pad_id = PAD_ID

    def __init__(
        self, module: nn.Module, tokenizer: XlmrTokenizer, runtime: Runtime, info: EncoderInfo
    ) -> None:
        self.info = info
        self.context_length = tokenizer.context_length
        self.module = ready(module, runtime)
        self.tokenizer = tokenizer
        self._runtime = runtime

    def tokenize(self, texts: Sequence[str]) -> list[Tokens]:
        """The token ids of each text, cut at 512."""
        return self.tokenizer(texts)

    def encode(self, items: Sequence[TokenIds]) -> Vectors:
        """Token ids of n texts → (n, dimensions) float32 of unit norm.

        The batch is padded to its longest text. The attention mask hides the padding.
        """
        rows = [torch.from_numpy(ids) for ids in items]
        return self._runtime.run(self._forward, nn.utils.rnn.pad_sequence(rows, True, PAD_ID))

    def _forward(self, ids: Tensor) -> Tensor:
        mask = (ids != PAD_ID).long()
        tokens = self.module.transformer(input_ids=ids, attention_mask=mask)[0]  # type: ignore[operator]
        mean = (tokens * mask.unsqueeze(2)).sum(1) / mask.sum(1, keepdim=True)
        vectors: Tensor = self.module.LinearTransformation(mean)  # type: ignore[operator]
        return vectors
