"""Names that lead elsewhere, are none on some system, or speak to a terminal."""

from __future__ import annotations

LEADING_OUT = {
    "up": "../outside",
    "down and up": "a/../../outside",
    "up on Windows": "..\\outside",
    "up by Windows' rules": ".. /outside",
    "dots": "...",
    "absolute": "/outside",
    "drive": "C:\\outside",
    "drive's current folder": "C:outside",
    "share": "\\\\server\\share\\outside",
    "verbatim": "\\\\?\\C:\\outside",
}
"""By what they do."""

IMPOSSIBLE = {
    "device": "CON",
    "device with an ending": "nul.safetensors",
    "device in a folder": "a/com1.pth",
    "stream": "file.pth:outside",
    "end of a string": "out\0side",
    "newline": "out\nside",
    "escape": "\x1b]0;outside\x07",
    "turned": "out\u202eside",
    "half a letter": "out\ud800side",
    "a byte that is no text": "out\udcffside",
    "long": "x" * 300,
    "long in bytes": "字" * 90,
    "deep": "outside/" * 2000 + "x",
    "space before the end": "outside /x.",
}
"""None of them is portable."""

HOSTILE = LEADING_OUT | IMPOSSIBLE

SCRIPTS = {
    "Arabic": "صيف_وشتاء",
    "Chinese": "从夏天到冬天",
    "Cyrillic": "лето 2",
    "Devanagari": "गर्मी",
    "Greek": "θέρος",
    "Hebrew": "קיץ",
    "Japanese": "夏から冬へ",
    "Korean": "여름",
    "Latin, composed": "été",
    "Latin, decomposed": "e\u0301te\u0301",
    "Tamil": "கோடை",
    "Thai": "ฤดูร้อน",
    "emoji": "🐴🦓",
}
"""Names that people give."""
