"""Publish a model on the Hugging Face Hub: its files, its card, and what its training showed."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from huggingface_hub import ModelCard, ModelCardData

from ..checkpoint.checkpoint import Checkpoint, read_checkpoint, write_checkpoint
from ..checkpoint.folder import CONFIG_NAME, WEIGHTS_NAME
from ..config import ARROWS, Direction, ModelConfig
from ..errors import CheckpointError, DownloadError
from ..files import atomic_write, is_inside
from .faults import as_sentences
from .repository import LIBRARY, split_id
from .resolve import new_api

TASK = "image-to-image"
TAGS = ("cyclegan", TASK, "unpaired")


def push(
    model: Checkpoint | str | Path,
    repo_id: str,
    *,
    private: bool = False,
    license: str | None = None,
) -> str:
    """Publish a model with its card, and with the newest samples of a run folder.

    Args:
        model: a checkpoint; or a weight file, a folder with one, or a run folder.
        repo_id: "owner/repo"; it is made if it does not exist.
        private: make it for your eyes only; else your account's default holds.
        license: for the card, as the Hub writes them, for example "mit"; by default what the file
            says, which a pulled one and a student do.

    Returns:
        The address of the repository's page.

    Raises:
        CheckpointError: there is no model to push.
        DownloadError: the Hub does not take it.
        ValueError: there can't be such a repository.
    """
    repo, revision = split_id(repo_id)
    if revision is not None:
        raise ValueError(
            f"a model is pushed to the main branch of {repo}; leave '@{revision}' out."
        )
    if license is not None and _hub_license(license) is None:
        raise ValueError(f"{license!r} is no licence as the Hub writes them, for example mit.")
    samples: list[Path] = []
    if not isinstance(model, Checkpoint):
        found = sorted(Path(model).glob("samples/step_*.jpg"))
        # Links in a folder of somebody else's would publish what is none of it.
        samples = [path for path in found if path.is_file() and is_inside(path, Path(model))]
        model = read_checkpoint(model)
    with tempfile.TemporaryDirectory() as name, as_sentences(repo):
        folder = Path(name)
        sample = None
        if samples:
            sample = f"samples/{samples[-1].name}"
            (folder / "samples").mkdir()
            shutil.copyfile(samples[-1], folder / sample)
        write_folder(model, folder)
        card = write_card(
            model.config,
            model.directions,
            model.training,
            repo_id=repo,
            license=license or _hub_license(model.license),
            sample=sample,
        )
        card.save(folder / "README.md")
        page = make_repository(repo, private=private)
        message = "Upload a CycleGAN model"
        new_api().upload_folder(repo_id=repo, folder_path=folder, commit_message=message)
    return page


def _hub_license(text: str | None) -> str | None:
    """A licence if it is one word as the Hub writes them; None for a sentence of somebody's."""
    return text if text and re.fullmatch(r"[a-z0-9][a-z0-9.\-]*", text) else None


def make_repository(repo: str, *, private: bool, token: str | bool | None = None) -> str:
    """Make a repository, unless it is there already: the address of its page.

    Raises:
        DownloadError: it is to be private, and is there and public.
    """
    page = new_api().create_repo(repo, token=token, private=private or None, exist_ok=True)
    if private and not new_api().model_info(page.repo_id, token=token).private:
        raise DownloadError(
            f"{repo} exists and is public, so nothing was uploaded; make it private on {page}, "
            "or push to another name."
        )
    return str(page)


def write_folder(checkpoint: Checkpoint, folder: Path) -> None:
    """Write `config.json` and `model.safetensors`, as the Hub's tools expect them.

    Raises:
        CheckpointError: they can't be written, or the weights hold NaN or infinity.
    """
    settings = {"config": checkpoint.config.to_dict(), "training": checkpoint.training}
    text = json.dumps(settings, indent=2, sort_keys=True) + "\n"
    atomic_write(
        folder / CONFIG_NAME,
        lambda temporary: temporary.write_text(text, encoding="utf-8"),
        error_type=CheckpointError,
    )
    write_checkpoint(checkpoint, folder / WEIGHTS_NAME)


def write_card(
    config: ModelConfig,
    directions: Sequence[Direction],
    training: Mapping[str, Any],
    *,
    repo_id: str | None = None,
    license: str | None = None,
    sample: str | None = None,
) -> ModelCard:
    """The README.md that tells people and the Hub what a model is.

    Args:
        config: its network and the names of its domains.
        directions: which ways it translates.
        training: what its training noted: steps, data, metrics, ….
        repo_id: where it will be found, for the examples.
        license: as the Hub writes them, for example "mit".
        sample: path of a picture inside the repository that shows what it does.
    """
    tag, kind, pictures = _kind(training)
    noted = training.get("metrics")
    names = cast("dict[str, Any]", noted) if isinstance(noted, dict) else {}
    # The Hub counts by plain ids: "a_to_b KID (EfficientNet-Lite0)" is a kid.
    ids = {re.sub(r"^[ab]_to_[ab] | \(.*$", "", name).lower() for name in names}
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=[*(each for each in TAGS if each != "unpaired"), tag],
        license=license,
        metrics=sorted(ids) or None,
    )
    repo = repo_id or "owner/repo"
    translations = " and ".join(
        "{} → {}".format(*map(_plain, config.domains(direction))) for direction in directions
    )
    parts = [
        f"# {repo.rpartition('/')[2] if repo_id else 'CycleGAN'}",
        f"A {kind} that translates pictures: {translations}. "
        f"It was trained on {pictures} and takes pictures of any size.",
        *([f"![Samples of the training, one row each]({sample})"] if sample else []),
        "## Use it",
        _usage(repo, directions[0]),
        *_evaluation(training.get("evaluation")),
        "## Facts",
        _facts(config, directions, training),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n")


def _kind(training: Mapping[str, Any]) -> tuple[str, str, str]:
    """A tag, what the model is, and what it learned from."""
    if teacher := training.get("teacher"):
        return "distillation", f"small student of {_plain(teacher)}", "what that makes of pictures"
    if training.get("objective") == "pix2pix":
        return "paired", "[pix2pix](https://arxiv.org/abs/1611.07004) model", "pairs of pictures"
    link = "https://arxiv.org/abs/1703.10593"
    return "unpaired", f"[CycleGAN]({link})", "two unpaired sets of pictures"


def _usage(repo: str, direction: Direction) -> str:
    """The same translation in ComfyUI, the shell and Python."""
    arrow = ARROWS[direction]
    return f"""**ComfyUI** with the CycleGAN nodes: add *Download CycleGAN from Hub*, give it the
repo_id `{repo}`, connect it to *Translate (CycleGAN)*, and choose the direction {arrow}.

**Shell** (after `pip install "cyclegan[cli]"`)

```sh
cyclegan pull {repo}
cyclegan translate photo.jpg -o out --model hub:{repo} --direction {direction}
```

**Python**

```python
from cyclegan_core import CycleGAN, read_picture, write_picture

model = CycleGAN.from_pretrained("{repo}")
picture = read_picture("photo.jpg").pixels  # (C,H,W) in [0,1]
result = model.translate(picture[None], "{direction}")[0]
write_picture("result.png", result)
```"""


def _facts(
    config: ModelConfig, directions: Sequence[Direction], training: Mapping[str, Any]
) -> str:
    """A table of the network and of what its training noted."""
    network = (
        f"ResNet, {config.num_blocks} blocks"
        if config.generator == "resnet"
        else f"U-Net, {config.num_downs} levels"
    )
    rows = {
        "domain A": _plain(config.domain_a),
        "domain B": _plain(config.domain_b),
        "directions": ", ".join(ARROWS[direction] for direction in directions),
        "network": f"{network}, {config.base_channels} channels, {config.norm} norm",
        "trained at": f"{config.image_size} pixels",
    }
    for name, value in sorted(training.items()):
        if name == "evaluation" and isinstance(value, dict):
            continue  # it has a section of its own
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            rows |= {f"{name}: {key}": _plain(item) for key, item in items}
        else:
            rows[name] = _plain(value)
    lines = [f"| {_plain(name)} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _evaluation(noted: object) -> list[str]:
    """The section about scores, from what `Evaluation.for_card` left in the file; else nothing."""
    if not isinstance(noted, dict):
        return []
    found = cast("dict[str, Any]", noted)
    parts: list[str] = []
    try:
        for table in found["tables"]:
            heads, *rows = ([_plain(cell) for cell in row] for row in table["rows"])
            lines = [heads, ["---"] * len(heads), *rows]
            parts.append(f"{_plain(table['title'])}:")
            parts.append("\n".join(f"| {' | '.join(cells)} |" for cells in lines))
        parts += [f"{_plain(found['settings'])}.", *map(_plain, found["notes"])]
    except (KeyError, TypeError, ValueError):  # somebody else's word for something else
        return []
    return ["## Scores on held-out pictures", *parts]


def _plain(value: object) -> str:
    """A text that no markup hides in, on one line."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in text)
