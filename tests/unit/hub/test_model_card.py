"""Model cards: what people and the Hub read about a model."""

from __future__ import annotations

import re
import runpy
from dataclasses import replace
from pathlib import Path

import pytest
from huggingface_hub import ModelCard

from cyclegan_core.cli.main import main
from cyclegan_core.hub.publish import write_card

from ..commands import draw
from ..weights import NAMED, SMALL, make_model

BOTH = ("a_to_b", "b_to_a")


def card_of(config=NAMED, directions=BOTH, training=(), **options) -> ModelCard:
    """As the Hub reads it: from the text."""
    return ModelCard(str(write_card(config, directions, dict(training), **options)))


def test_what_the_hub_reads() -> None:
    data = card_of(license="cc-by-4.0", training={"metrics": {"fid": 30.5}}).data
    assert data.library_name == "cyclegan"
    assert data.pipeline_tag == "image-to-image"
    assert data.tags == ["cyclegan", "image-to-image", "unpaired"]
    assert data.license == "cc-by-4.0"
    assert data.metrics == ["fid"]
    scores = {f"{way} {name}": 0.5 for way in BOTH for name in ("KID (EfficientNet-Lite0)", "SSIM")}
    assert card_of(training={"metrics": scores}).data.metrics == ["kid", "ssim"]
    assert card_of().data.license is None
    assert card_of().data.metrics is None


def test_pix2pix_is_called_so() -> None:
    card = card_of(training={"objective": "pix2pix"})
    assert card.data.tags == ["cyclegan", "image-to-image", "paired"]
    assert "A [pix2pix](https://arxiv.org/abs/1611.07004) model that translates" in card.text
    assert "It was trained on pairs of pictures and takes pictures of any size." in card.text


def test_a_student_names_its_teacher() -> None:
    card = card_of(training={"objective": "pix2pix", "teacher": "big | 1.0", "license": "mit"})
    assert card.data.tags == ["cyclegan", "image-to-image", "distillation"]
    assert "A small student of big \\| 1.0 that translates" in card.text
    assert "trained on what that makes of pictures and takes" in card.text


def test_what_people_read() -> None:
    config = replace(SMALL, domain_a="horse", domain_b="zebra", image_size=512)
    training = {"steps": 2800, "data": "ed63", "metrics": {"fid": 30.5, "kid": 0.01}}
    text = card_of(config, training=training, repo_id="you/striped").text
    assert "# striped\n" in text
    assert "horse → zebra and zebra → horse" in text
    for row in (
        "| domain A | horse |",
        "| domain B | zebra |",
        "| directions | A→B, B→A |",
        "| trained at | 512 pixels |",
        "| steps | 2800 |",
        "| data | ed63 |",
        "| metrics: fid | 30.5 |",
        "| metrics: kid | 0.01 |",
    ):
        assert row in text


def test_scores_are_tables_with_a_section_of_their_own() -> None:
    """What an evaluation left in the file; somebody else's word for something else is a fact."""
    table = {"title": "horse → zebra, 5 pictures", "rows": [["", "KID (x)"], ["model", "0.1 | b"]]}
    noted = {"tables": [table], "settings": "seed: 0", "notes": ["Look [here](http://x)."]}
    text = card_of(training={"evaluation": noted, "steps": 3}).text
    _, section = text.split("## Scores on held-out pictures\n\n")
    section, facts = section.split("\n\n## Facts")
    assert section == (
        "horse → zebra, 5 pictures:\n\n|  | KID (x) |\n| --- | --- |\n| model | 0.1 \\| b |\n\n"
        "seed: 0.\n\nLook \\[here\\](http://x)."
    )
    assert "evaluation" not in facts
    for other in ({"tables": 3}, {"tables": [{}]}, {"tables": [{"title": "", "rows": []}]}, "good"):
        assert "## Scores" not in card_of(training={"evaluation": other}).text


def test_one_way_only() -> None:
    text = card_of(replace(SMALL, domain_a="day", domain_b="night"), ["b_to_a"]).text
    assert "translates pictures: night → day. " in text
    assert "| directions | B→A |" in text
    assert "--direction b_to_a" in text
    assert '"b_to_a")' in text


def test_samples_are_shown() -> None:
    assert "![" not in card_of().text
    assert "](samples/step_0000005.jpg)" in card_of(sample="samples/step_0000005.jpg").text


@pytest.mark.parametrize("name", ["a|b", "<script>", "`*_[l](u)", "---", "{{ x }}"])
def test_names_are_not_markup(name: str) -> None:
    """They come from a file that anybody may have written."""
    card = card_of(replace(SMALL, domain_a=name), training={name: f"{name}\n---\n", "steps": 1})
    assert card.data.library_name == "cyclegan"
    (row,) = [line for line in card.text.splitlines() if line.startswith("| domain A |")]
    cells = re.split(r"(?<!\\)\|", row)
    assert len(cells) == 4
    shown = re.sub(r"\\(.)", r"\1", cells[2])
    assert shown.strip() == " ".join(name.split())
    assert "<script>" not in card.text
    assert "\n---\n" not in card.text


def test_the_snippets_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the folder instead of the repository that it will be."""
    monkeypatch.chdir(tmp_path)
    make_model().save_pretrained(
        tmp_path / "me" / "model", model_card_kwargs={"repo_id": "me/model"}
    )
    draw(tmp_path / "photo.jpg")
    text = (tmp_path / "me" / "model" / "README.md").read_text(encoding="utf-8")
    (python,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    script = tmp_path / "snippet.py"
    script.write_text(python, encoding="utf-8")
    runpy.run_path(str(script))
    (shell,) = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    pull, translate = shell.splitlines()
    assert pull == "cyclegan pull me/model"
    words = translate.replace("hub:", "").split()[1:]
    assert main([*words, "--device", "cpu"]) == 0
    assert (tmp_path / "out" / "photo.jpg").exists()
    assert (tmp_path / "result.png").exists()


def test_a_card_that_is_there_stays(tmp_path: Path) -> None:
    make_model().save_pretrained(tmp_path)
    (tmp_path / "README.md").write_text("my own words")
    make_model().save_pretrained(tmp_path)
    assert (tmp_path / "README.md").read_text() == "my own words"
