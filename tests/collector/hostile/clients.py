"""The corpus, 4.5: the client's address, as it is told by X-Forwarded-For and stored in full."""

from __future__ import annotations

from tests.collector.hostile.case import Case, event, keeps

PEER = "127.0.0.1"


def forwarded(row: int, name: str, address: str | None, *lines: str | bytes) -> Case:
    """A request that a proxy of ours passes on; 10.0.0.0/8 and fd00::/8 are ours too."""
    values = [line.encode() if isinstance(line, str) else line for line in lines]
    headers = tuple(b"X-Forwarded-For: " + value for value in values)
    return keeps(row, name, event(), columns={"ip_address": address}, headers=headers)


# of an appliance without proxies, which truncates
DIRECT = [
    keeps(
        68,
        f"X-Forwarded-For: {text}",
        event(),
        columns={"ip_address": "127.0.0.0"},
        headers=(b"X-Forwarded-For: " + text.encode(),),
    )
    for text in ("198.51.100.7", "10.0.0.1", "::1", "unknown", "", "127.0.0.1, 198.51.100.7", "x" * 8_000)
]

CASES: list[Case] = [
    forwarded(68, "no header", PEER),
    forwarded(68, "from a proxy", "198.51.100.7", "198.51.100.7"),
    forwarded(69, "two of a line", "198.51.100.2", "198.51.100.1, 198.51.100.2"),
    forwarded(69, "two lines", "198.51.100.3", "198.51.100.1, 198.51.100.2", "198.51.100.3"),
    forwarded(
        69, "proxies on the right", "198.51.100.4", "203.0.113.1, 198.51.100.4, 10.1.2.3", "fd00::1", " 10.1.2.4 "
    ),
    forwarded(69, "a proxy's address on the left", "203.0.113.5", "10.1.2.3, 203.0.113.5, 10.1.2.4"),
    forwarded(69, "nothing but proxies", "10.0.0.1", "10.0.0.1, 10.0.0.2"),
    forwarded(69, "IPv6", "2001:db8::7", "2001:db8::7"),
    forwarded(70, "zone", "fe80::1", "fe80::1%eth0"),
    forwarded(70, "long zone", "fe80::2", "fe80::2%" + "a" * 300),
    forwarded(70, "zone of IPv4", "198.51.100.7", "198.51.100.7%eth0"),
    forwarded(71, "network", None, "198.51.100.0/24"),
    forwarded(71, "octal", None, "010.1.1.1"),
    forwarded(71, "short", None, "127.1"),
    forwarded(71, "hexadecimal", None, "0x7f.1"),
    forwarded(71, "one number", None, "2130706433"),
    forwarded(71, "five parts", None, "1.2.3.4.5"),
    forwarded(71, "256", None, "1.2.3.256"),
    forwarded(71, "full-width", None, "\uff11.2.3.4"),
    forwarded(71, "triple colon", None, "2001:db8:::1"),
    forwarded(72, "port", None, "198.51.100.8:80"),
    forwarded(72, "brackets and port", None, "[2001:db8::8]:80"),
    forwarded(72, "unknown", None, "unknown"),
    forwarded(72, "hidden", None, "_hidden"),
    forwarded(72, "quoted", None, '"198.51.100.9"'),
    forwarded(72, "empty", None, ""),
    forwarded(72, "only commas", None, ",,,"),
    forwarded(72, "8 KB of addresses", "198.51.100.10", "1.1.1.1," * 1_000 + "198.51.100.10"),
    forwarded(72, "8 KB of proxies", "10.9.9.9", ",".join(["10.9.9.9"] * 900)),
    forwarded(72, "bytes", None, b"\xff\xfe\xc3\x28"),
    forwarded(72, "SQL", None, "1.2.3.4'; drop table events_log; --"),
    forwarded(73, "mapped", "198.51.100.11", "::ffff:198.51.100.11"),
    forwarded(73, "mapped, hexadecimal", "198.51.100.12", "::ffff:c633:640c"),
]
