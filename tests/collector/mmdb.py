"""Mmdb: countries of IPv4 networks in, a database in MaxMind's format out.

https://maxmind.github.io/MaxMind-DB/, with records of 24 bits, small maps and short texts.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any

MARKER = b"\xab\xcd\xefMaxMind.com"
Tree = list[Any]  # two branches each; a branch is a tree, a record, or None


def database(records: Mapping[str, Any]) -> bytes:
    """A database that has these records for these networks."""
    root: Tree = [None, None]
    for network, record in records.items():
        _plant(root, ipaddress.IPv4Network(network), record)
    nodes: list[Tree] = []
    _number(root, nodes)
    numbers = {id(node): number for number, node in enumerate(nodes)}
    data = bytearray()
    tree = bytearray()
    for node in nodes:
        for branch in node:
            if isinstance(branch, list):
                tree += numbers[id(branch)].to_bytes(3, "big")
            elif branch is None:
                tree += len(nodes).to_bytes(3, "big")
            else:
                tree += (len(nodes) + 16 + len(data)).to_bytes(3, "big")
                data += _encoded(branch)
    metadata = {
        "binary_format_major_version": 2,
        "binary_format_minor_version": 0,
        "build_epoch": 1,
        "database_type": "Test",
        "description": {},
        "ip_version": 4,
        "languages": [],
        "node_count": len(nodes),
        "record_size": 24,
    }
    return bytes(tree) + bytes(16) + bytes(data) + MARKER + _encoded(metadata)


def _plant(root: Tree, network: ipaddress.IPv4Network, record: object) -> None:
    bits = [int(network.network_address) >> 31 - depth & 1 for depth in range(network.prefixlen)]
    node = root
    for bit in bits[:-1]:
        if node[bit] is None:
            node[bit] = [None, None]
        node = node[bit]
    node[bits[-1]] = record


def _number(node: Tree, nodes: list[Tree]) -> None:
    nodes.append(node)
    for branch in node:
        if isinstance(branch, list):
            _number(branch, nodes)


def _encoded(value: object) -> bytes:
    if isinstance(value, str):
        text = value.encode()
        return bytes([2 << 5 | len(text)]) + text
    if isinstance(value, dict):
        return bytes([7 << 5 | len(value)]) + b"".join(_encoded(part) for pair in value.items() for part in pair)
    if isinstance(value, list):
        return bytes([len(value), 11 - 7]) + b"".join(map(_encoded, value))
    assert isinstance(value, int)
    return bytes([6 << 5 | 4]) + value.to_bytes(4, "big")
