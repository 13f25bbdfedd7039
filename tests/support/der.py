"""A reader of DER that shares no code with the product: tag, length, value, and nothing but."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Node:
    tag: int
    value: bytes
    children: tuple[Node, ...] = ()


def read_der(data: bytes) -> Node:
    """The one value that `data` is. AssertionError on lengths that DER would write otherwise, and on octets behind."""
    node, end = _read(data, 0)
    assert end == len(data)
    return node


def oid(node: Node) -> str:
    assert node.tag == 0x06
    first, *rest = node.value
    arcs, arc = [first // 40 if first < 80 else 2, first % 40 if first < 80 else first - 80], 0
    for octet in rest:
        arc = arc << 7 | octet & 0x7F
        if octet < 0x80:
            arcs.append(arc)
            arc = 0
    return ".".join(map(str, arcs))


def _read(data: bytes, place: int) -> tuple[Node, int]:
    tag, length = data[place], data[place + 1]
    assert tag & 0x1F != 0x1F
    place += 2
    if length >= 0x80:
        count = length & 0x7F
        assert 0 < count <= 3
        length = int.from_bytes(data[place : place + count], "big")
        assert length >= (0x80 if count == 1 else 1 << 8 * (count - 1)), "longer than necessary"
        place += count
    value = data[place : place + length]
    assert len(value) == length
    children = []
    if tag & 0x20:
        at = 0
        while at < length:
            child, at = _read(value, at)
            children.append(child)
    return Node(tag, value, tuple(children)), place + length
