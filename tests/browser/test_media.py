"""Media: what was played, how far, and whether to its end."""

from __future__ import annotations

import base64
import io
import wave

from playwright.sync_api import Page

from tests.browser.site import Site

SECONDS = 2


def sound() -> str:
    """The address of a silent recording."""
    with io.BytesIO() as file:
        with wave.open(file, "wb") as recording:
            recording.setparams((1, 1, 8_000, 0, "NONE", ""))
            recording.writeframes(b"\x80" * 8_000 * SECONDS)
        return "data:audio/wav;base64," + base64.b64encode(file.getvalue()).decode()


def play(site: Site, page: Page, attributes: str) -> None:
    """Play it a little, pause, go on to each quarter, play it to its end, and leave."""
    site.body = f"<div {attributes}><audio id=talk muted src='{sound()}'></audio></div>"
    page.goto(site.url)
    site.stored(1)
    page.locator("#talk").evaluate("""async (talk) => {
      const event = (type) => new Promise((resolve) => talk.addEventListener(type, resolve, { once: true }));
      await talk.play();
      talk.pause();
      for (const seconds of [0.6, 1.1, 1.6]) {
        talk.currentTime = seconds;
        await event('timeupdate');
      }
      talk.play();
      await event('ended');
    }""")
    page.goto("about:blank")


def test_playing(site: Site, page: Page) -> None:
    """Playing, pausing, each quarter and the end are told."""
    play(site, page, "")
    site.stored(9)

    events = [event.data for event in site.seen("media")]
    quarters = [event["percent"] // 25 * 25 for event in events if event["action"] == "progress"]
    assert ["play", "pause", "play", "complete"] == [
        event["action"] for event in events if event["action"] != "progress"
    ]
    assert [25, 50, 75] == quarters
    assert {("audio", "talk", SECONDS)} == {(event["tag"], event["name"], event["duration"]) for event in events}
    assert (100, SECONDS) == (events[-1]["percent"], events[-1]["seconds"])


def test_private(site: Site, page: Page) -> None:
    """What is played in a private part is not told."""
    play(site, page, "data-private")
    site.stored(2)

    assert [] == site.seen("media")
