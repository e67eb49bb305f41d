"""Every command and snippet of README, pages beside it and docstrings does what it says.

The lines come from the files. Here stands only what exists in the folder where they are run, how
long work is made short, and which programs are not run but have their words parsed.
"""

from __future__ import annotations

import doctest
import importlib.util
import itertools
import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from itertools import dropwhile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch.distributed.run import parse_args as parse_torchrun

from cyclegan_core import CycleGAN, Trainer, load_model
from cyclegan_core.cli.main import _options, parse

from .checkpoint import foreign
from .commands import draw, save
from .evaluation.samples import fill
from .hub.clients import Clients, User
from .hub.pages import TOKEN
from .hub.samples import our_files
from .hub.server import Hub, running
from .processes import ROOT
from .weights import make_model
from .weights import save as save_weights

PAGES = ("recipes", "training", "evaluation", "large-pictures", "models", "from-the-original")
FILES = ("README.md", *(f"docs/{page}.md" for page in PAGES))

SHORT_TRAINING = (
    *("--model.base-channels", "2", "--model.num-blocks", "1", "--disc-channels", "2"),
    *("--load-size", "72", "--crop-size", "64", "--max-steps", "2", "--device", "cpu"),
)
SHORT = {
    "train": (*SHORT_TRAINING, "--warmup-steps", "0"),
    "distill": (
        *("--base-channels", "2", "--num-blocks", "1", "--num-pairs", "2", "--crop-size", "16"),
        *("--load-size", "16", "--num-held-out", "1", "--max-steps", "1", "--batch-size", "1"),
    ),
    "evaluate": ("--subset-size", "4", "--num-subsets", "2"),
}
"""What is appended to commands: tiny networks, few steps and few pictures."""

RESULTS = ("-o", "--out", "--run", "--sheet", "--compare")
"""Options that name what is there afterwards."""


class Block(NamedTuple):
    """What stands between two fences."""

    file: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"


def read_blocks() -> list[Block]:
    """All of the files and of two classes; one neither marked as shell nor as Python is a fault."""
    found = []
    for file in FILES:
        text = (ROOT / file).read_text(encoding="utf-8")
        for match in re.finditer(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            found.append(Block(file, line, *match.groups()))
    for kind in (CycleGAN, Trainer):
        examples = doctest.DocTestParser().get_examples(kind.__doc__)
        code = "".join(example.source for example in examples)
        found.append(Block(kind.__name__, examples[0].lineno, "python", code))
    return found


BLOCKS = read_blocks()


# --- where they are run -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with running() as hub:
        yield hub
        assert hub.errors == []


@pytest.fixture(scope="module")
def clients(hub: Hub) -> Iterator[Clients]:
    with Clients(hub.url) as clients:
        yield clients


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with all files that are named."""
    root = tmp_path_factory.mktemp("everything")
    pictures = ("photo.jpg", "a.jpg", "huge.tif", "in/1.png", "PHOTO.jpg")
    for name in (*pictures, "docs/stream.jpg", "example_workflows/mountain_large.jpg"):
        draw(root / name, size=(40, 30))
    if importlib.util.find_spec("av"):
        from .films.clips import make_clip

        for name in ("clip.mp4", "example_workflows/mountain.mp4"):
            make_clip(root / name, frames=3)
    folders = (
        *("photos", "paintings", "drawings", "frames", "A", "B", "facades/A", "facades/B"),
        *("test/photos", "test/paintings", "test/facades", "test/labels"),
        *("PHOTOS", "PAINTINGS", "PAIRS/A", "PAIRS/B", "TEST/A", "TEST/B"),
    )
    maps = "datasets/maps"
    folders += tuple(f"{maps}/{name}" for name in ("trainA", "trainB", "testA", "testB"))
    for seed, name in enumerate(folders):
        fill(root / name, 4, seed, (44, 40))
    for seed, name in enumerate(("facades/train", "facades/test", "datasets/facades/train")):
        fill(root / name, 4, 98 + seed, (88, 40))

    for seed, name in enumerate(("G_A", "G_B", "G_AB", "G_BA", "latest_net_G_A")):
        network = foreign.scramble(foreign.upstream(), seed)
        save_weights(network.state_dict(), root / f"{name}.pth")
    names = (
        f"maps_cyclegan/{epoch}_net_{part}" for epoch in ("latest", 5) for part in ("G_A", "G_B")
    )
    for seed, name in enumerate((*names, "horse2zebra_pretrained/latest_net_G")):
        network = foreign.scramble(foreign.upstream(), 20 + seed)
        path = root / "checkpoints" / f"{name}.pth"
        path.parent.mkdir(parents=True, exist_ok=True)
        save_weights(network.state_dict(), path)
    for name in ("big.pth", "BIG.pth"):
        save_weights(foreign.scramble(foreign.upstream(), 9).state_dict(), root / name)
    shutil.copy(root / "G_A.pth", root / "FILE")
    save(root / "model.safetensors")
    for run in ("runs/mine", "output/cyclegan/my_run", "output/cyclegan/MY_RUN"):
        (root / run).mkdir(parents=True)
        save(root / run / "model.safetensors")
    return root


@pytest.fixture
def here(everything: Path, tmp_path: Path) -> Path:
    """That folder anew."""
    return Path(shutil.copytree(everything, tmp_path / "here"))


@pytest.fixture
def user(hub: Hub, clients: Clients, tmp_path: Path) -> User:
    """Logged in at a Hub with one repository that has both directions."""
    hub.reset()
    for name in ("owner/repo", "OWNER/REPO"):
        hub.add(name, our_files(tmp_path / "repo", make_model()))
    home = tmp_path / "home"
    return User(clients, home, HF_TOKEN=TOKEN, HOME=str(home))


# --- shell --------------------------------------------------------------------------------------


def commands(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """The words of each command, and the files that its comment says it makes."""
    for line in text.replace("\\\n", " ").splitlines():
        made = re.findall(r"→ (\S+\.\w+)", line.partition("  #")[2])
        words = shlex.split(line, comments=True)
        while "&&" in words:
            end = words.index("&&")
            yield words[:end], []
            words = words[end + 1 :]
        if words:
            yield words, made


def run_cyclegan(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """Run it; what it names as its results is there afterwards."""
    # One serves until it is stopped, one wants a Ray or a store, one 90 MB; tested elsewhere.
    if words[0] in ("demo", "bulk") or {"--inception-weights", "--tracker"} & set(words):
        parse(words)
        return
    words = [re.sub("^~(?=/)", str(user.home), word) for word in words]
    results = [after for word, after in itertools.pairwise(words) if word in RESULTS]
    goes_on = words[:2] == ["train", "--run"]
    one_more = ("--max-steps", "3") if "--max-steps" in words else ()
    short = one_more if goes_on else SHORT.get(words[0], ())
    short += ("--model.num-downs", "5") if "unet" in words else ()  # for crops of 64
    answer = user.start(argv=[*words, *short], cwd=here).end()
    assert answer.code == 0, (words, answer.err)
    for name in (*results, *made):
        assert (here / name).exists(), (words, name)


def run_torchrun(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """Its own words are parsed, and what it would start several times is run once."""
    options = parse_torchrun(list(words))
    assert options.module
    assert options.training_script == "cyclegan_core.cli"
    run_cyclegan(options.training_script_args, made, user, here)


def check_pip(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """It installs this clone with extras that there are."""
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    extras = project.partition("[project.optional-dependencies]")[2].partition("\n[")[0]
    known = set(re.findall(r"^(\w+) = \[", extras, re.MULTILINE))
    assert words[:2] == ["install", "-e"]
    match = re.fullmatch(r"\.\[([\w,]+)\]", words[2])
    assert match
    assert set(match[1].split(",")) <= known


def check_python(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """The scripts that build a page: by npm, with a server, and from gradio; tested elsewhere."""
    script = ROOT / words[0]
    assert script.parent == ROOT / "demo"
    spec = importlib.util.spec_from_file_location("demo_build_of_readme", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.read_options(words[1:])


HF = """
import importlib.metadata, sys
(point,) = importlib.metadata.entry_points(group="console_scripts", name="hf")
sys.argv = ["hf", *words, "--help"]
point.load()()
"""


def check_hf(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """There is such a command with such options, and `User` has a login already."""
    command = list(itertools.takewhile(lambda word: "/" not in word, words))
    answer = user.python(HF, words=command)
    assert answer.code == 0, answer.err
    for part in (" ".join(command), *(word for word in words if word.startswith("--"))):
        assert part in answer.out


def run_mkdir(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    words = [re.sub("^~(?=/)", str(user.home), word) for word in words]
    subprocess.run(["mkdir", *words], cwd=here, check=True)


def check_pytest(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """This is it."""
    assert words == []


def project_url() -> str:
    match = re.search(r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.M)
    assert match
    return match[1]


def check_git(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """It fetches this repository, which is here already."""
    assert words == ["clone", "--depth", "1", project_url()]


def check_cd(words: Sequence[str], made: Sequence[str], user: User, here: Path) -> None:
    """Into the folder that a clone makes."""
    assert words == [project_url().rpartition("/")[2]]


SETS_A_VARIABLE = re.compile(r"[A-Z_]+=\S*")

PROGRAMS = {
    "cyclegan": run_cyclegan,
    "torchrun": run_torchrun,
    "git": check_git,
    "cd": check_cd,
    "mkdir": run_mkdir,
    "pip": check_pip,
    "pytest": check_pytest,
    "python": check_python,
    "hf": check_hf,
}


# --- Python -------------------------------------------------------------------------------------


def shorten(code: str) -> str:
    """Trainings of few steps with tiny networks, and on the processor where there is no GPU."""
    tiny = "model=cyclegan_core.ModelConfig(base_channels=2, num_blocks=1), disc_channels=2"
    code, count = re.subn(r"max_steps=[\d_]+", f"max_steps=2, {tiny}", code)
    if count:
        code = "import cyclegan_core\n" + code
    return code if torch.cuda.is_available() else code.replace('"cuda"', '"cpu"')


# --- the tests ----------------------------------------------------------------------------------


@pytest.mark.parametrize("block", BLOCKS, ids=str)
def test_it_can_be_typed(block: Block, user: User, here: Path) -> None:
    if block.language == "python":
        answer = user.start(code=shorten(block.text), values={}, cwd=here).end()
        assert answer.code == 0, answer.out + answer.err
        return
    assert block.language == "sh"
    for words, made in commands(block.text):
        program, *rest = dropwhile(SETS_A_VARIABLE.fullmatch, words)
        PROGRAMS[program](rest, made, user, here)


def test_what_the_readme_names_is_in_a_clone_or_in_capitals() -> None:
    """Or it is a result; so that a reader sees what to replace."""
    named = set()
    for block in BLOCKS:
        if block.file != "README.md" or block.language != "sh":
            continue
        for words, _ in commands(block.text):
            if words[0] == "cyclegan":
                pairs = itertools.pairwise(words)
                named |= {word for before, word in pairs if before not in RESULTS}
    named = {word for word in named if re.search(r"/|\.[a-z]", word)}
    missing = {
        word for word in named if not re.search("[A-Z]", word) and not (ROOT / word).exists()
    }
    assert "docs/stream.jpg" in named
    assert missing == {"~/.local/share/bash-completion/completions/cyclegan"}


def test_template_says_what_the_readme_says_of_a_style_of_ones_own() -> None:
    """And leaves the node's own time limit, which is enough for it."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    section = readme.split("## A style of your own")[1].split("\n## ")[0]
    file = ROOT / "example_workflows" / "Train a style.json"
    nodes = {n["type"]: n for n in json.loads(file.read_text(encoding="utf-8"))["nodes"]}
    (note,) = nodes["MarkdownNote"]["widgets_values"]
    for text in (section, note):
        text = text.replace("*", "")
        for what in (
            "In a new workflow, double-click on the canvas and add Train CycleGAN on Folders",
            "suit this computer",
            "a run_name",
        ):
            assert what.lower() in " ".join(text.lower().split())
    *_, max_minutes, _ = nodes["CycleGAN_Train"]["widgets_values"][:6]
    assert max_minutes == 60


def test_options_beside_those_of_the_original_are_options() -> None:
    page = (ROOT / "docs" / "from-the-original.md").read_text(encoding="utf-8")
    ours = [line.split(" | ")[1] for line in page.splitlines() if line.startswith("| `--")]
    named = set(re.findall(r"--[a-z][\w.-]*", "".join(ours)))
    assert len(named) > 30
    assert named <= {*_options("train"), *_options("translate")}


def test_checkpoints_go_back_to_the_original_with_its_names(everything: Path) -> None:
    file = everything / "checkpoints" / "maps_cyclegan" / "latest_net_G_A.pth"
    theirs = torch.load(file, weights_only=True)
    ours = load_model(file).gen_ab.state_dict()
    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
