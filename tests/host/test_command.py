"""`python tests/host/comfyui.py`, as a person runs it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from .client import Client
from .comfyui import COMFYUI_VERSION, HERE
from .samples import save_random_model


def test_what_a_person_has_made_outlives_ctrl_c(app_dir: Path, tmp_path: Path) -> None:
    """A start lists a model of the start before, says where all lies, and leaves it there."""
    (tmp_path / COMFYUI_VERSION).symlink_to(app_dir, target_is_directory=True)
    models, output = tmp_path / "base" / "models" / "cyclegan", tmp_path / "base" / "output"
    models.mkdir(parents=True)
    save_random_model(models / "mine.safetensors", seed=1)
    process = subprocess.Popen(
        [sys.executable, str(HERE / "comfyui.py")],
        env={**os.environ, "CYCLEGAN_HOST_CACHE": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background makes them, and their children, deaf to Ctrl-C.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stderr is not None
        said = ""
        while "They stay" not in said and (line := process.stderr.readline()):
            said += line
        assert "They stay" in said, said
        address = next(word for word in said.split() if word.startswith("http://"))
        assert str(models) in said
        assert str(output) in said
        info = Client(address).object_info()["CycleGAN_Load"]
        assert "mine.safetensors" in str(info)
    finally:
        process.send_signal(signal.SIGINT)
        _, rest = process.communicate(timeout=60)
    assert process.returncode == 0, rest
    assert (models / "mine.safetensors").is_file()
    assert (tmp_path / "base" / "input" / "cyclegan_stream.jpg").is_file()
