"""The order of the rooms: imports point down only, no circle, and no room grows too large."""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[2]

ROOMS = [
    *("cli", "bulk", "films", "distillation", "export", "runs", "training", "evaluation"),
    *("discriminators", "model", "translation", "hub", "checkpoint", "streaming", "data"),
    *("networks", "pixels", "layers", "pictures", "config", "device", "files", "validation"),
    *("errors", "progress", "_docs", "_lazy", "_version"),
]
"""High to low: a file imports its own room and lower ones, also under TYPE_CHECKING."""

FILES = {
    path.relative_to(ROOT / "cyclegan_core").with_suffix("").parts: path
    for path in (ROOT / "cyclegan_core").rglob("*.py")
    if path != ROOT / "cyclegan_core" / "__init__.py"
}
"""By their parts; a room's face ends in "__init__". The core's own face may import everything."""


def imported(parts: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The files that a file imports, wherever in it that stands; never a face by its room's name.

    What a face imports lazily stands in it under TYPE_CHECKING, too.
    """
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


def test_imports_inside_the_core_are_relative() -> None:
    wrong = [
        "/".join(parts)
        for parts, path in FILES.items()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if (isinstance(node, ast.ImportFrom) and not node.level and _is_core(node.module or ""))
        or (isinstance(node, ast.Import) and any(_is_core(name.name) for name in node.names))
    ]
    assert wrong == []


def _is_core(module: str) -> bool:
    return module.partition(".")[0] == "cyclegan_core"


def test_nodes_name_no_file_below_a_face() -> None:
    named = {
        node.module.partition("cyclegan_core")[2].strip(".")
        for path in (ROOT / "nodes").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and node.module and "cyclegan_core" in node.module
    }
    rooms = {parts[0] for parts in FILES if len(parts) > 1}
    assert named <= {"", "config", "errors", "files"} | rooms


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
