"""The model card: the README.md that tells people and the Hub what a model is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

from huggingface_hub import ModelCard, ModelCardData

from ..config import ARROWS, Direction, ModelConfig

LIBRARY = "cyclegan"
TASK = "image-to-image"
TAGS = ("cyclegan", TASK, "unpaired")


def write_card(
    config: ModelConfig,
    directions: Sequence[Direction],
    training: Mapping[str, Any],
    *,
    repo_id: str | None = None,
    license: str | None = None,
    sample: str | None = None,
) -> ModelCard:
    """Describe a model for the Hub.

    Args:
        config: its network and the names of its domains.
        directions: which ways it translates.
        training: what its training noted: steps, data, metrics, ….
        repo_id: where it will be found, for the examples.
        license: as the Hub writes them, for example "mit".
        sample: path of a picture inside the repository that shows what it does.
    """
    metrics = training.get("metrics")
    data = ModelCardData(
        library_name=LIBRARY,
        pipeline_tag=TASK,
        tags=list(TAGS),
        license=license,
        metrics=sorted(cast("dict[str, Any]", metrics)) if isinstance(metrics, dict) else None,
    )
    repo = repo_id or "owner/repo"
    parts = [
        f"# {repo.rpartition('/')[2] if repo_id else 'CycleGAN'}",
        _summary(config, directions),
        *([f"![Samples of the training, one row each]({sample})"] if sample else []),
        "## Use it",
        _usage(repo, directions[0]),
        "## Facts",
        _facts(config, directions, training),
    ]
    return ModelCard(f"---\n{data.to_yaml()}\n---\n\n" + "\n\n".join(parts) + "\n")


def _summary(config: ModelConfig, directions: Sequence[Direction]) -> str:
    ways = " and ".join("{} → {}".format(*map(_plain, config.domains(way))) for way in directions)
    return (
        f"A [CycleGAN](https://arxiv.org/abs/1703.10593) that translates pictures: {ways}. "
        "It was trained on two unpaired sets of pictures and takes pictures of any size."
    )


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
    network = (
        f"ResNet, {config.num_blocks} blocks"
        if config.generator == "resnet"
        else f"U-Net, {config.num_downs} levels"
    )
    rows = {
        "domain A": _plain(config.domain_a),
        "domain B": _plain(config.domain_b),
        "directions": ", ".join(ARROWS[way] for way in directions),
        "network": f"{network}, {config.base_channels} channels, {config.norm} norm",
        "trained at": f"{config.image_size} pixels",
    }
    for name, value in sorted(training.items()):
        if isinstance(value, dict):
            items = cast("dict[str, Any]", value).items()
            rows |= {f"{name}: {key}": _plain(item) for key, item in items}
        else:
            rows[name] = _plain(value)
    lines = [f"| {_plain(name)} | {value} |" for name, value in rows.items()]
    return "\n".join(["| | |", "|---|---|", *lines])


def _plain(value: object) -> str:
    """A text that no markup hides in, on one line."""
    text = " ".join(str(value).split())
    return "".join(f"\\{letter}" if letter in "\\`*_[]<>|" else letter for letter in text)
