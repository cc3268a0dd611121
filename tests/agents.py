"""Agents: what browsers and programs call themselves."""

from __future__ import annotations

# of a person; tests that send it are about something else
BROWSER = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/148.0.0.0 Safari/537.36"
HEADLESS = BROWSER.replace("Chrome/", "HeadlessChrome/")
CRAWLER = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"
