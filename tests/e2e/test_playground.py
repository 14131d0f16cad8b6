"""The playground in a real browser: what people do there, and what they see."""

import base64
import io
import shutil
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Browser, FilePayload, Route, expect

from export.emoji import picture_of
from tests.e2e.browser import Visit, best, note, visit, write
from tests.e2e.server import Server, serve
from tests.image_server import ImageServer
from tests.paths import ROOT

# Two frames after the first row's best is `name`: it is painted.
WHEN_SHOWN = """(name) => { window.shown = new Promise((resolve) => {
  const look = () => {
    if (document.querySelector('#rows .ranked .thumb')?.ariaLabel !== name) return;
    requestAnimationFrame(() => requestAnimationFrame(() => resolve(performance.now())));
  };
  const every = { subtree: true, childList: true, characterData: true };
  new MutationObserver(look).observe(document.querySelector('#rows'), every);
}); }"""
ANSWERED = """() => performance.getEntriesByType('resource')
  .filter(({ name }) => name.endsWith('/embed/text')).at(-1).responseEnd"""
# [drop or paste, a PNG file in base64 or "", an address or ""] given to the page as a person would.
GIVE = """([kind, file, address]) => {
  const data = new DataTransfer();
  const bytes = Uint8Array.from(atob(file), (letter) => letter.charCodeAt(0));
  if (file) data.items.add(new File([bytes], `${kind}.png`, { type: 'image/png' }));
  if (address) data.setData(kind === 'drop' ? 'text/uri-list' : 'text/plain', address);
  const how = { bubbles: true, cancelable: true };
  document.body.dispatchEvent(kind === 'drop'
    ? new DragEvent('drop', { dataTransfer: data, ...how })
    : new ClipboardEvent('paste', { clipboardData: data, ...how }));
}"""


def test_it_says_something_at_first_sight(english: Visit, demo: Server) -> None:
    page = english.page
    names = page.locator("#images .name").all_inner_texts()
    assert list(best(page).values()) == names
    expect(page.locator("#says")).to_contain_text("knows emoji and their names, and nothing else")
    expect(page.locator("#model")).to_have_text("demo")
    expect(page.locator("#dimensions")).to_have_text("256")
    expect(page.locator("#engine")).to_have_text("onnx int8 cpu")
    expect(page.locator("#fingerprint")).to_have_text(demo.get("/").json()["fingerprint"])
    expect(page.locator("#time-text")).to_contain_text("encode")
    expect(page.locator("#time-image")).to_contain_text("decode")
    assert english.hosts == {demo.url.removeprefix("http://")}
    paths = [
        request.removeprefix(f"GET {demo.url}").removeprefix(f"POST {demo.url}")
        for request in english.requests
    ]
    assert {path for path in paths if path.startswith("/")} == {"/", "/embed/text", "/embed/image"}


def test_with_the_multilingual_model_it_speaks_many_languages(
    browser: Browser, mclip: Server
) -> None:
    with visit(browser, mclip.url) as opened:
        expect(opened.page.locator("td.best")).to_have_count(8)
        names = opened.page.locator("#images .name").all_inner_texts()
        assert list(best(opened.page).values()) == names
        assert best(opened.page)["狐"] == "fox"


def test_english_is_answered_while_it_is_typed(english: Visit) -> None:
    page = english.page
    page.get_by_label("Texts, one per line").fill("")
    expect(page.locator("#match-empty")).to_be_visible()
    page.get_by_label("Texts, one per line").press_sequentially("pizza")
    expect(page.locator("#rows .words")).to_have_text(["pizza"])
    assert best(page) == {"pizza": "pizza"}
    expect(page.get_by_role("status").last).to_have_text("Best for pizza: pizza, 0.78")


def test_japanese_is_answered_and_drawn_at_once(browser: Browser, mclip: Server) -> None:
    with visit(
        browser, f"{mclip.url}/#t=guitar&u=sample:guitar&u=sample:cat&u=sample:fox"
    ) as opened:
        page = opened.page
        expect(page.locator("#rows .words")).to_have_text(["guitar"])
        page.evaluate(WHEN_SHOWN, "fox")
        page.get_by_label("Texts, one per line").fill("狐")
        shown_ms = page.evaluate("shown")
        assert best(page) == {"狐": "fox"}
        note(japanese_from_answer_to_display_ms=round(shown_ms - page.evaluate(ANSWERED), 1))


def test_what_is_known_is_not_asked_again(english: Visit) -> None:
    page = english.page
    write(page, "a fox", "guitar", "sushi")
    asked = [request for request in english.requests if "/embed/" in request]
    assert sum("/embed/image" in request for request in asked) == 1
    assert sum("/embed/text" in request for request in asked) == 2
    write(page, "sushi", "a fox")
    assert [request for request in english.requests if "/embed/" in request] == asked


def test_an_upload_is_ranked_and_a_small_one_travels_in_the_address(
    english: Visit, demo: Server
) -> None:
    page = english.page
    small = io.BytesIO()
    with Image.open(io.BytesIO(picture_of("octopus"))) as picture:
        picture.save(small, "WEBP", quality=60)
        large = io.BytesIO()
        picture.resize((640, 640)).save(large, "PNG")
    files: list[FilePayload] = [
        {"name": "octopus.webp", "mimeType": "image/webp", "buffer": small.getvalue()},
        {"name": "large.png", "mimeType": "image/png", "buffer": large.getvalue()},
    ]
    page.get_by_label("Choose image files").set_input_files(files)
    write(page, "octopus")
    expect(page.locator("#heads .thumb")).to_have_count(10)
    expect(page.locator("#rows td:not([data-h])")).to_have_count(0)
    assert best(page)["octopus"] in ("octopus.webp", "large.png")
    expect(page.locator("#unlinked")).to_have_text("Too large for a link to this page: one image.")
    parts = ("#t=octopus&", "sample%3Arainbow", "data%3Aimage%2Fwebp")
    page.wait_for_url(lambda url: all(part in url for part in parts))
    page.reload()
    expect(page.locator("#rows .words")).to_have_text(["octopus"])
    expect(page.locator("#images .name")).to_have_count(9)


def test_pictures_are_dropped_and_pasted(english: Visit, image_server: ImageServer) -> None:
    page = english.page
    file = base64.b64encode(picture_of("mushroom")).decode()
    url = image_server.serve("/sushi.png", picture_of("sushi"))
    for gift in (["drop", file, ""], ["paste", file, ""], ["drop", "", url], ["paste", "", url]):
        page.evaluate(GIVE, gift)
    expect(page.locator("#images .name")).to_have_count(12)
    expect(page.locator("#images .done")).to_have_count(12)
    write(page, "mushroom", "sushi")
    assert best(page)["mushroom"] in ("drop.png", "paste.png")
    assert best(page)["sushi"] == "sushi.png"


def test_zero_shot_gives_labels_their_probabilities(english: Visit, demo: Server) -> None:
    page = english.page
    page.get_by_role("tab", name="Similarity").press("ArrowRight")
    expect(page.get_by_role("tab", name="Zero-shot")).to_be_focused()
    expect(page.locator("#bars .label").first).to_have_text("a fox")
    page.get_by_role("radio", name="guitar").check(force=True)
    expect(page.locator("#bars .label").first).to_have_text("guitar")
    page.get_by_label("Texts, one per line").fill("pizza\nviolin\nguitar")
    expect(page.locator("#bars .label")).to_have_count(3)
    shares = [
        float(share.strip("<> %")) for share in page.locator("#bars .share").all_inner_texts()
    ]
    assert shares == sorted(shares, reverse=True)
    page.get_by_label("Prompt").fill("no place")
    expect(page.locator("#zero-problem")).to_contain_text("needs {}")
    page.get_by_label("Prompt").fill("a {}")
    expect(page.locator("#zero-problem")).to_be_hidden()
    page.wait_for_url(lambda url: "m=zero" in url and "p=a+" in url and "i=5" in url)
    page.reload()
    expect(page.locator("#bars .label").first).to_have_text("guitar")
    expect(page.get_by_label("Prompt")).to_have_value("a {}")


@pytest.mark.parametrize("path", ["/my-function", "/my-function/"])
def test_it_works_under_a_path(browser: Browser, demo: Server, path: str) -> None:
    """As cloudfunctions.net serves it; the path is cut off before the function sees it."""

    def forward(route: Route) -> None:
        url = route.request.url.replace("/my-function", "", 1)
        route.fulfill(response=route.fetch(url=url, headers=route.request.all_headers()))

    with visit(browser, f"{demo.url}/docs") as opened:
        page = opened.page
        page.route("**/my-function**", forward)
        page.goto(demo.url + path)
        expect(page.locator("td.best")).to_have_count(8)
        assert page.locator("#docs").evaluate("link => link.href") == f"{demo.url}/my-function/docs"


def test_another_model_gets_no_emoji_unasked(browser: Browser, tmp_path: Path) -> None:
    """The demo's bundle under another name."""
    folder = tmp_path / "emoji-small"
    shutil.copytree(ROOT / "common/models/demo/bundles/demo", folder)
    manifest = folder / "manifest.json"
    manifest.write_text(manifest.read_text().replace('"model": "demo"', '"model": "emoji/small"'))
    settings: dict[str, Any] = {"CLIP_MODEL": "emoji/small", "CLIP_WEIGHTS_DIR": str(tmp_path)}
    with serve(tmp_path, **settings) as server, visit(browser, server.url) as opened:
        page = opened.page
        expect(page.locator("#model")).to_have_text("emoji/small")
        expect(page.get_by_label("Texts, one per line")).to_have_value("")
        expect(page.locator("#match-empty")).to_be_visible()
        assert not any("/embed/" in request for request in opened.requests)
        page.get_by_role("button", name="Samples").click()
        expect(page.locator("td.best")).to_have_count(8)
        expect(page.locator("#rows .words").first).to_have_text("a drawing of a fox")
