"""The examples of OpenAI's routes in the OpenAPI document."""

from functions.examples import FOX, FOX_SIGNS, SIGNS, TEXT_SIGNS, Example

EMBEDDINGS_EXAMPLES = {
    "a text": Example({"input": "a fox", "model": "demo"}),
    "a text and an image": Example(
        {"input": ["a fox", {"image": FOX}], **SIGNS},
        {
            "id": "example",  # what the caller sends as X-Request-Id
            "data": [
                {"index": 0, "embedding": TEXT_SIGNS, "object": "embedding"},
                {"index": 1, "embedding": FOX_SIGNS, "object": "embedding"},
            ],
            "model": "demo",
            "usage": {"prompt_tokens": 4, "total_tokens": 4},
            "object": "list",
        },
    ),
    "one vector of a text and an image": Example({"input": [{"text": "a fox", "image": FOX}]}),
    "content parts": Example(
        {
            "input": [
                {"type": "text", "text": "a fox"},
                {"type": "image_url", "image_url": {"url": FOX}},
            ]
        }
    ),
    "images as plain strings": Example({"input": [FOX], "modality": "image"}),
}
IMAGES_EXAMPLES = {"an image": Example({"input": [FOX]})}
