"""The models as data."""

from pathlib import Path

from common.errors import ModelNotFound
from common.models.spec import ModelSpec, MultilingualTower, OpenClipTower

_DEMO = Path(__file__).with_name("demo")

# laion400m was trained with QuickGELU; open_clip's plain "ViT-B-32" would build GELU and only warn.
_CLIP = OpenClipTower("ViT-B-32-quickgelu", hub_repo="timm/vit_base_patch32_clip_224.laion400m_e32")
# Not "laion400m_e32" of open_clip's table: for this architecture that entry downloads the e31 weights.
_MCLIP_IMAGE = OpenClipTower("ViT-B-16-plus-240", hub_repo="timm/vit_base_patch16_plus_clip_240.laion400m_e32")
_MCLIP_TEXT = MultilingualTower(
    hub_repo="M-CLIP/XLM-Roberta-Large-Vit-B-16Plus",
    weights_sha256="a7124266439dd6bce544c23b57249a2ca764dbcd38e8eab16ce272c28c27b049",
)
_DEMO_CLIP = OpenClipTower(folder=_DEMO / "clip")
_BUNDLES = _DEMO / "bundles"
_DEMO_ONLY = "knows emoji and their names, and nothing else"

CATALOG = (
    ModelSpec("clip", "OpenCLIP ViT-B/32 laion400m_e32", "English texts and images", _CLIP, _CLIP, 512),
    ModelSpec(
        "mclip",
        "M-CLIP XLM-Roberta-Large-Vit-B-16Plus",
        "texts in about 100 languages and images",
        _MCLIP_TEXT,
        _MCLIP_IMAGE,
        640,
    ),
    ModelSpec("demo", "Demo CLIP on emoji", f"English; {_DEMO_ONLY}", _DEMO_CLIP, _DEMO_CLIP, 256, _BUNDLES / "demo"),
    ModelSpec(
        "demo-mclip",
        "Demo M-CLIP on emoji",
        f"many languages; {_DEMO_ONLY}",
        MultilingualTower(folder=_DEMO / "mclip"),
        _DEMO_CLIP,
        256,
        _BUNDLES / "demo-mclip",
    ),
)


def resolve(name: str) -> ModelSpec:
    """The model of that name: one of the catalog, or `ARCHITECTURE/PRETRAINED` of open_clip's table.

    Raises ModelNotFound. Whether open_clip knows the pair is seen when a tower is loaded: asking it takes seconds.
    """
    for spec in CATALOG:
        if spec.id == name:
            return spec
    architecture, slash, pretrained = name.partition("/")
    if not (architecture and slash and pretrained):
        known = ", ".join(spec.id for spec in CATALOG)
        raise ModelNotFound(f"there is no model {name!r}; known are {known}, and ARCHITECTURE/PRETRAINED of open_clip")
    tower = OpenClipTower(architecture, pretrained)
    return ModelSpec(name, f"OpenCLIP {architecture} {pretrained}", "a model of open_clip", tower, tower)
