"""The catalog: the models that the service knows by name, as data."""

from pathlib import Path

from common.errors import ModelNotFound
from common.models.spec import ModelSpec, MultilingualTower, OpenClipTower

_DEMO = Path(__file__).with_name("demo")

# laion400m was trained with QuickGELU. open_clip's plain "ViT-B-32" builds GELU and only warns.
_CLIP = OpenClipTower("ViT-B-32-quickgelu", hub_repo="timm/vit_base_patch32_clip_224.laion400m_e32")
# open_clip's own entry "laion400m_e32" for this architecture downloads the e31 weights.
_MCLIP_IMAGE = OpenClipTower(
    "ViT-B-16-plus-240", hub_repo="timm/vit_base_patch16_plus_clip_240.laion400m_e32"
)
_MCLIP_TEXT = MultilingualTower(
    hub_repo="M-CLIP/XLM-Roberta-Large-Vit-B-16Plus",
    weights_sha256="a7124266439dd6bce544c23b57249a2ca764dbcd38e8eab16ce272c28c27b049",
)
_DEMO_CLIP = OpenClipTower(folder=_DEMO / "clip")
_BUNDLES = _DEMO / "bundles"
_DEMO_ONLY = "knows emoji and their names, and nothing else"

_MANY = "about 100"
_ENGLISH = "English"


def _preset(
    name: str,
    architecture: str,
    pretrained: str,
    repo: str,
    dimensions: int,
    languages: str,
    licence: str,
    figures: tuple[float, float] | None,
) -> ModelSpec:
    """A model of open_clip's table under a short name; open_clip publishes the `figures`.

    `repo` is the table's hub repository, so that it is known without importing open_clip.
    """
    tower = OpenClipTower(architecture, pretrained, hub_repo=repo)
    full_name = f"OpenCLIP {architecture} {pretrained}"
    description = f"texts ({languages}) and images"
    return ModelSpec(
        name, full_name, description, tower, tower, dimensions,
        languages=languages, licence=licence, figures=figures,
    )  # fmt: skip


# Weights without commercial use (MobileCLIP, jina-clip-v2, MetaCLIP 2) have no preset. Those that
# open_clip lists are available as ARCHITECTURE/PRETRAINED.
CATALOG = (
    ModelSpec(
        "clip", "OpenCLIP ViT-B/32 laion400m_e32", "English texts and images", _CLIP, _CLIP, 512,
        languages=_ENGLISH, licence="MIT", figures=(62.9, 35.3),
    ),
    _preset(
        "clip-256", "ViT-B-32-256", "datacomp_s34b_b86k",
        "laion/CLIP-ViT-B-32-256x256-DataComp-s34B-b86K", 512, _ENGLISH, "MIT", (72.8, 39.9),
    ),
    _preset(
        "siglip2", "ViT-B-32-SigLIP2-256", "webli", "timm/ViT-B-32-SigLIP2-256",
        768, _MANY, "Apache-2.0", (74.0, 47.2),
    ),
    _preset(
        "siglip2-b16", "ViT-B-16-SigLIP2", "webli", "timm/ViT-B-16-SigLIP2",
        768, _MANY, "Apache-2.0", (78.2, 52.1),
    ),
    ModelSpec(
        "mclip",
        "M-CLIP XLM-Roberta-Large-Vit-B-16Plus",
        "texts in about 100 languages and images",
        _MCLIP_TEXT,
        _MCLIP_IMAGE,
        640,
        languages=_MANY,
    ),
    _preset(
        "mclip-base", "xlm-roberta-base-ViT-B-32", "laion5b_s13b_b90k",
        "laion/CLIP-ViT-B-32-xlm-roberta-base-laion5B-s13B-b90k", 512, _MANY, "MIT", None,
    ),
    ModelSpec(
        "demo", "Demo CLIP on emoji", f"English; {_DEMO_ONLY}", _DEMO_CLIP, _DEMO_CLIP, 256,
        _BUNDLES / "demo", languages=_ENGLISH, licence="MIT",
    ),
    ModelSpec(
        "demo-mclip",
        "Demo M-CLIP on emoji",
        f"many languages; {_DEMO_ONLY}",
        MultilingualTower(folder=_DEMO / "mclip"),
        _DEMO_CLIP,
        256,
        _BUNDLES / "demo-mclip",
        languages="40",
        licence="MIT",
    ),
)  # fmt: skip


def resolve(name: str) -> ModelSpec:
    """The model with this name, from the catalog or as `ARCHITECTURE/PRETRAINED` of open_clip.

    Raises ModelNotFound for any other name. Whether open_clip knows the pair is checked when a
    tower is loaded, because importing open_clip takes seconds.
    """
    for spec in CATALOG:
        if spec.id == name:
            return spec
    architecture, slash, pretrained = name.partition("/")
    if not (architecture and slash and pretrained):
        known = ", ".join(spec.id for spec in CATALOG)
        raise ModelNotFound(
            f"no model {name!r}; use one of {known}, or ARCHITECTURE/PRETRAINED of open_clip"
        )
    tower = OpenClipTower(architecture, pretrained)
    return ModelSpec(
        name, f"OpenCLIP {architecture} {pretrained}", "an open_clip model", tower, tower
    )
