"""The words and the pictures of a PDF, read as its format says, for tests."""

import re
import zlib

import numpy as np

_LITERAL = re.compile(rb"/(F\d+)\s+[\d.]+\s+Tf|\(((?:[^\\()]|\\.)*)\)", re.DOTALL)
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t", b"b": b"\b", b"f": b"\f"}


def objects(content):
    """(dictionary, what its stream holds, unpacked) of each object, by number."""
    found = {}
    for match in re.finditer(rb"(\d+) 0 obj\n(.*?)\nendobj", content, re.DOTALL):
        words, has, _ = match[2].partition(b"stream\n")
        if not has:
            found[int(match[1])] = match[2], b""
        else:
            start = match.start(2) + len(words) + len(b"stream\n")
            found[int(match[1])] = words, zlib.decompressobj().decompress(content[start:])
    return found


def words(content):
    """All letters of the pages in the order in which they are drawn, without spaces."""
    found = objects(content)
    fonts = {}
    for dictionary, _ in found.values():
        for name, number in re.findall(rb"/(F\d+) (\d+) 0 R", dictionary):
            unicode = re.search(rb"/ToUnicode (\d+) 0 R", found[int(number)][0])
            fonts[name] = _letters(found[int(unicode[1])][1])
    letters, font = [], {}
    for _, stream in found.values():
        if b" Tf" not in stream:
            continue
        for name, literal in _LITERAL.findall(stream):
            if name:
                font = fonts[name]
                continue
            codes = re.sub(rb"\\(.)", lambda escape: _ESCAPED.get(escape[1], escape[1]), literal, flags=re.DOTALL)
            letters += [font[code] for code in np.frombuffer(codes, ">u2").tolist()]
    return re.sub(r"\s", "", "".join(letters))


def images(content):
    """(width, height) of each picture, sorted."""
    sizes = [
        tuple(int(re.search(rb"/%s (\d+)" % side, dictionary)[1]) for side in (b"Width", b"Height"))
        for dictionary, _ in objects(content).values()
        if b"/Subtype /Image" in dictionary
    ]
    return sorted(sizes)


def _letters(table):
    """What letters each code stands for."""
    found = {}
    for first, last, inside in re.findall(rb"<(\w+)>\s*<(\w+)>\s*\[(.*?)\]", table, re.DOTALL):
        units = re.findall(rb"<([\w\s]+)>", inside)
        for code, unit in zip(range(int(first, 16), int(last, 16) + 1), units, strict=True):
            found[code] = bytes.fromhex(unit.decode()).decode("utf-16-be")
    return found
