"""The playground when something fails, and under attack."""

from playwright.sync_api import Browser, Route, expect

from export.emoji import picture_of
from tests.e2e.browser import Visit, best, check_accessible, visit, write
from tests.e2e.server import Server
from tests.image_server import ImageServer
from tests.paths import ROOT


def test_a_dead_address_is_said_beside_its_picture(
    english: Visit, image_server: ImageServer
) -> None:
    page = english.page
    field = page.get_by_label("Address of an image")
    field.fill(f"{image_server.url}/gone.png?token=hunter2")
    field.press("Enter")
    expect(page.locator("#images .failed b")).to_have_text("the server answered 404")
    expect(page.locator("#images .failed")).to_contain_text("http_status")
    field.fill(image_server.serve("/sushi.png", picture_of("sushi")))
    page.get_by_role("button", name="Add").click()
    write(page, "sushi")
    assert best(page) == {"sushi": "sushi.png"}
    assert (
        image_server.requests["/gone.png"] == 1
    )  # the function's own: the browser asks for what the function could read
    expect(page.locator("#heads .thumb")).to_have_count(9)
    check_accessible(page)
    page.get_by_role("button", name="Remove gone.png").click()
    expect(page.locator("#images .failed")).to_have_count(0)
    expect(page.locator("#images .remove").last).to_be_focused()


def test_a_picture_that_failed_can_be_tried_again(
    english: Visit, image_server: ImageServer
) -> None:
    page = english.page
    page.get_by_label("Address of an image").fill(f"{image_server.url}/broken")
    page.get_by_role("button", name="Add").click()
    again = page.get_by_role("button", name="Try again")
    expect(again).to_be_visible()
    image_server.serve("/broken", picture_of("sushi"))
    again.click()
    expect(page.locator("#images .done")).to_have_count(9)


def test_what_is_no_picture_and_what_is_blocked_are_said(english: Visit) -> None:
    page = english.page
    page.get_by_label("Choose image files").set_input_files(ROOT / "LICENSE")
    page.get_by_label("Address of an image").fill("http://169.254.169.254/computeMetadata/v1/")
    page.get_by_role("button", name="Add").click()
    failed = page.locator("#images .failed")
    expect(failed).to_have_count(2)
    expect(failed.first).to_contain_text("not_an_image")
    expect(failed.last).to_contain_text("blocked_url")


def test_a_text_that_is_refused_is_said_beside_the_texts(english: Visit) -> None:
    page = english.page
    english.refusals.add(400)
    write(page, "a fox")
    page.get_by_label("Texts, one per line").fill("a fox\n" + "x" * 100_001)
    expect(page.locator("#texts-problem")).to_contain_text(
        "100,001 characters, the limit is 100,000"
    )
    write(page, "a fox", "fox " * 100)
    expect(page.locator("#texts-problem")).to_be_hidden()
    expect(page.locator("#rows .cut").last).to_be_visible()


def test_markup_in_the_address_stays_text(browser: Browser, demo: Server) -> None:
    evil = "%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E"
    with visit(
        browser, f"{demo.url}/#t={evil}&u=sample:fox&u=javascript:alert(1)&u=sample:__proto__"
    ) as opened:
        page = opened.page
        expect(page.locator("#rows .words")).to_have_text(["<img src=x onerror=alert(1)>"])
        expect(page.locator("#images .failed")).to_have_count(2)
        assert page.locator("[onerror]").count() == 0


def test_the_policy_stops_what_the_page_does_not_hold(
    browser: Browser, demo: Server, image_server: ImageServer
) -> None:
    with visit(browser, demo.url) as opened:
        page = opened.page
        assert "TrustedHTML" in page.evaluate(
            "() => { try { document.body.innerHTML = '<b>1</b>'; }"
            " catch (error) { return String(error); } }"
        )
        page.evaluate(
            "() => { const style = document.createElement('style');"
            " style.textContent = 'body { display: none }';"
            " document.head.append(style); }"
        )
        expect(page.locator("body")).to_be_visible()
        assert (
            page.evaluate("url => fetch(url).then(() => 'sent', () => 'stopped')", image_server.url)
            == "stopped"
        )
        stopped = {violation.split()[0] for violation in page.evaluate("violations")}
        assert stopped == {"require-trusted-types-for", "style-src-elem", "connect-src"}
        page.evaluate("violations.length = 0")
        opened.complaints.clear()


def test_a_key_is_asked_for_where_one_is_needed_and_kept_out_of_the_address(
    browser: Browser, guarded: Server
) -> None:
    with visit(browser, guarded.url) as opened:
        page = opened.page
        opened.refusals.add(401)
        key = page.get_by_label("API key")
        expect(key).to_be_focused()
        check_accessible(page)
        key.fill("wrong")
        key.press("Enter")
        expect(page.locator("#key-problem")).to_have_text("The function does not take this key.")
        key.fill("second-key")
        key.press("Enter")
        expect(page.locator("td.best")).to_have_count(8)
        expect(key).to_be_hidden()
        write(page, "a fox")
        page.get_by_role("tab", name="Zero-shot").click()
        expect(page.locator("#bars .label")).to_have_text(["a fox"])
        page.wait_for_url(lambda url: "m=zero" in url)
        assert "second-key" not in page.url
        for language in ("curl", "Python"):
            page.get_by_role("tab", name=language).click()
            expect(page.locator("#snippet")).to_contain_text("CLIP_API_KEY")
            assert "second-key" not in page.locator("#snippet").inner_text()


def test_it_waits_as_long_as_a_busy_function_asks(browser: Browser, demo: Server) -> None:
    busy = {"detail": "the queue is full", "code": "overloaded"}

    def refuse(route: Route) -> None:
        route.fulfill(status=429, headers={"Retry-After": "1"}, json=busy)

    with visit(browser, f"{demo.url}/docs") as opened:
        page = opened.page
        opened.refusals.add(429)
        page.route("**/embed/text", refuse, times=1)
        page.goto(demo.url)
        expect(page.locator("#waiting")).to_have_text("the queue is full. Asking again in 1 s.")
        expect(page.locator("td.best")).to_have_count(8)
        expect(page.locator("#waiting")).to_be_hidden()
