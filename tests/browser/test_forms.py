"""Forms: which fields, in which order, how long; what was written only where the tag allows it."""

from __future__ import annotations

from typing import Any

from playwright.sync_api import Page

from tests.browser.site import Site

FORM = """
<form id="order" action="/thanks">
  <input name="city"><select name="size"><option>S<option>L</select><textarea name="note"></textarea>
  <input name="pin" type="password"><input name="number" autocomplete="billing cc-number">
  <span data-private><input name="diary"></span>
  <button id="send">Send</button>
</form>"""
FIELDS = ("city", "size", "note", "pin", "number", "diary")
SECRETS = ("kept-city", "kept-note", "kept-pin", "4111111111111111", "kept-diary")


def fill(site: Site, page: Page) -> None:
    """Open the page and write into every field."""
    site.body = FORM
    site.tag = site.own_tag
    page.goto(site.url)
    page.wait_for_function("() => window.evothesis")
    page.fill("[name=city]", SECRETS[0])
    page.locator("[name=size]").focus()
    page.select_option("[name=size]", "L")
    page.fill("[name=note]", f"{SECRETS[1]} for jane@example.com")
    page.fill("[name=pin]", SECRETS[2])
    page.fill("[name=number]", SECRETS[3])
    page.fill("[name=diary]", SECRETS[4])


def steps(site: Site) -> list[tuple[str, str, str | None]]:
    """What was stored of forms: the action, the form and the field."""
    return [(event.data["action"], event.data["form"], event.data.get("field")) for event in site.seen("form")]


def written(site: Site) -> list[str]:
    """Which of what was written was sent."""
    return [word for word in SECRETS if any(word.encode() in body for body in site.bodies)]


def leave(site: Site, page: Page, count: int) -> list[dict[str, Any]]:
    """Leave, and look up what was stored of forms."""
    page.goto("about:blank")
    site.stored(count)
    return [event.data for event in site.seen("form")]


def test_fields(site: Site, page: Page) -> None:
    """Entering and changing fields is told by their names; of passwords, cards and private fields nothing is."""
    fill(site, page)
    leave(site, page, 9)

    assert [
        ("focus", "order", "city"),
        ("change", "order", "city"),
        ("focus", "order", "size"),
        ("change", "order", "size"),
        ("focus", "order", "note"),
        ("change", "order", "note"),
        ("abandon", "order", "note"),
    ] == steps(site)
    assert [] == written(site)


def test_values(site: Site, page: Page) -> None:
    """What was written is told of fields that the tag names, redacted; never of a password, a card, a private field."""
    site.write_tags(off="engagement vitals dead_click", values=" ".join(FIELDS))
    fill(site, page)
    data = leave(site, page, 9)

    assert {"city": "kept-city", "size": "L", "note": "kept-note for [email]"} == {
        step["field"]: step["value"] for step in data if "value" in step
    }
    assert ["kept-city", "kept-note"] == written(site)


def test_kinds_and_times(site: Site, page: Page) -> None:
    """A change tells the kind of its field and how long it took, the end how many fields were changed."""
    fill(site, page)
    data = leave(site, page, 9)

    assert ["text", "select-one", "textarea"] == [step["fieldType"] for step in data if step["action"] == "change"]
    assert 3 == data[-1]["changes"]
    assert all(0 <= step["milliseconds"] < 60_000 for step in data)


def test_submit(site: Site, page: Page) -> None:
    """A form that was sent was not abandoned."""
    fill(site, page)
    page.locator("#send").click()
    page.wait_for_url("**/thanks*")
    leave(site, page, 9)

    assert ["submit"] == [action for action, _, _ in steps(site) if action not in {"focus", "change"}]


def test_unchanged(site: Site, page: Page) -> None:
    """A form in which nothing was changed was not abandoned."""
    site.body = FORM
    page.goto(site.url)
    page.wait_for_function("() => window.evothesis")
    page.locator("[name=city]").focus()
    leave(site, page, 3)

    assert [("focus", "order", "city")] == steps(site)


def test_route(site: Site, page: Page) -> None:
    """Leaving a route of a single-page application abandons its forms, on that route."""
    fill(site, page)
    page.evaluate("history.pushState(null, '', '/other')")
    page.wait_for_timeout(50)  # the tracker looks at the address in a later task
    leave(site, page, 10)

    (abandoned,) = [event for event in site.seen("form") if event.data["action"] == "abandon"]
    assert ("/", 1) == (abandoned.path, len({event.view_id for event in site.seen("form")}))
