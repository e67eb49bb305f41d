"""The order of the rooms: imports point down only, no circle, and no room grows too large."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]

ROOMS = [
    *(
        "cli",
        "runs",
        "training",
        "evaluation",
        "model",
        "translation",
        "hub",
        "checkpoint",
        "streaming",
        "data",
    ),
    *("networks", "pixels", "layers", "pictures", "config", "device", "files", "validation"),
    *("errors", "progress", "_lazy", "_version"),
]
"""High to low: a file imports its own room and lower ones, also under TYPE_CHECKING."""

FILES = {
    path.relative_to(ROOT / "cyclegan_core").with_suffix("").parts: path
    for path in (ROOT / "cyclegan_core").rglob("*.py")
    if path.name != "__init__.py"
}
"""By their parts; the faces are for those outside the core, and no file of it may name them."""


def imported(parts: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The files that a file imports, wherever in it that stands."""
    found: set[tuple[str, ...]] = set()
    for node in ast.walk(ast.parse(FILES[parts].read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.level:
            base = (*parts[: -node.level], *filter(None, (node.module or "").split(".")))
            found |= {base} if node.module else {(*base, name.name) for name in node.names}
    return found


def test_imports_point_down() -> None:
    wrong = [
        f"{'/'.join(parts)} imports {'/'.join(target)}"
        for parts in FILES
        for target in sorted(imported(parts))
        if target not in FILES or ROOMS.index(target[0]) < ROOMS.index(parts[0])
    ]
    assert wrong == []


def test_no_circle() -> None:
    left = {parts: imported(parts) & FILES.keys() for parts in FILES}
    while free := {parts for parts, targets in left.items() if not targets & left.keys()}:
        left = {parts: targets for parts, targets in left.items() if parts not in free}
    assert sorted(left) == []


def test_no_room_has_more_than_ten_files() -> None:
    folders = {path.parent for path in (ROOT / "cyclegan_core").rglob("*.py")}
    folders |= {path.parent for path in (ROOT / "nodes").rglob("*.py")}
    named = {folder: [p for p in folder.glob("*.py") if p.stem[0] != "_"] for folder in folders}
    assert [folder.name for folder, files in named.items() if len(files) > 10] == []
