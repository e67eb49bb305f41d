"""`cyclegan pull`, `push` and `list`, and `--model hub:...`, as people type them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from cyclegan_core import load_model, save_model
from cyclegan_core.hub.catalog import read_catalog

from ..commands import draw
from ..processes import Result
from ..weights import difference, same
from .clients import User, environment
from .expect import CDN, WEIGHTS
from .samples import OURS, holds_nothing, network, one_half, only_model
from .server import Hub


def ok(answer: Result) -> Result:
    assert answer.code == 0, answer.out + answer.err
    return answer


def complaint(answer: Result, code: int = 1) -> str:
    """What the command says when it fails: one line."""
    assert answer.code == code, answer.out + answer.err
    (line,) = answer.err.splitlines()
    assert line.startswith("cyclegan: ")
    return line


def test_pull_says_where_the_model_is(hub: Hub, stranger: User) -> None:
    commit = hub.add("you/model", {"G.pth": WEIGHTS}).head
    answer = ok(stranger.cyclegan("pull", "you/model"))
    path = only_model(stranger.models)
    assert str(path) in answer.out.replace("\n", "")
    assert commit[:7] in answer.out + answer.err
    assert difference(load_model(path), "a_to_b", network()) == 0


def test_pull_for_scripts(hub: Hub, stranger: User) -> None:
    commit = hub.add("you/model", {"G.pth": WEIGHTS}).head
    answer = ok(stranger.cyclegan("pull", "you/model", "--json"))
    assert answer.json["path"] == str(only_model(stranger.models))
    assert answer.json["commit"] == commit
    assert answer.err == ""


def test_pull_options(hub: Hub, stranger: User, tmp_path: Path) -> None:
    repository = hub.add("you/styles", {"a.pth": one_half(1), "b.pth": one_half(2)})
    repository.branches["v1"] = repository.head
    repository.commit({"b.pth": one_half(3)})
    folder = tmp_path / "new" / "folder"
    ok(stranger.cyclegan("pull", "you/styles@v1", "--file", "b.pth", "--to", folder))
    assert difference(load_model(only_model(folder)), "a_to_b", network(2)) == 0
    assert holds_nothing(stranger.models)


def test_pull_offline(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    assert "no local copy" in complaint(stranger.cyclegan("pull", "you/model", "--offline"))
    ok(stranger.cyclegan("pull", "you/model"))
    hub.requests.clear()
    answer = ok(stranger.cyclegan("pull", "you/model", "--offline"))
    assert "offline" in answer.out + answer.err
    assert hub.seen() == []


@pytest.mark.parametrize("repo", ["model", "a/b/c", "../x", "you/model@a..b", "you/mo del"])
def test_no_such_repository(hub: Hub, stranger: User, repo: str) -> None:
    complaint(stranger.cyclegan("pull", repo), code=2)
    assert hub.seen() == []


def test_faults_are_one_line(hub: Hub, stranger: User) -> None:
    hub.add("you/styles", {"van.pth": WEIGHTS, "monet.pth": WEIGHTS})
    assert "There is no you/nothing" in complaint(stranger.cyclegan("pull", "you/nothing"))
    assert "--file" in complaint(stranger.cyclegan("pull", "you/styles"))
    answer = stranger.cyclegan("pull", "you/nothing", "--json")
    assert answer.code == 1
    assert "There is no you/nothing" in answer.json["error"]
    assert answer.err == ""


def test_ctrl_c_in_mid_file(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    pause = hub.fail(CDN, hold=len(WEIGHTS) // 2)
    pull = stranger.start_cyclegan("pull", "you/model")
    assert pause.held.wait(60)
    pull.interrupt()
    answer = pull.end()
    pause.go.set()
    assert answer.code == 130
    assert "interrupted" in answer.err
    assert "Traceback" not in answer.err
    assert holds_nothing(stranger.models)
    ok(stranger.cyclegan("pull", "you/model"))


def test_pull_by_a_name_of_the_catalog(hub: Hub, stranger: User) -> None:
    files = {"gen_AB.pth": one_half(1), "gen_BA.pth": one_half(2)}
    repository = hub.add("johko/cyclegan-horse2zebra", files)
    ok(stranger.cyclegan("pull", "horse2zebra-johko"))
    path = only_model(stranger.models)
    assert load_model(path).directions == ("a_to_b", "b_to_a")
    ok(stranger.cyclegan("info", "horse2zebra-johko"))
    for model in ok(stranger.cyclegan("list", "--json")).json["models"]:
        if model["repo"] == repository.name:
            assert model["path"] == str(path)
            assert not model["verified"], "it was fetched, but nobody tried it"
    ok(stranger.cyclegan("pull", f"horse2zebra-johko@{repository.head}"))
    assert len(list(stranger.models.iterdir())) == 2
    assert "comes with the package" in complaint(stranger.cyclegan("pull", "photo2monet"), code=2)


# --- names of models ----------------------------------------------------------------------------


def test_translate_with_a_model_of_the_hub(hub: Hub, stranger: User, tmp_path: Path) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    picture = draw(tmp_path / "in.png")
    command = ("translate", picture, "--device", "cpu", "-o")
    ok(stranger.cyclegan(*command, tmp_path / "one.png", "--model", "hub:you/model"))
    hub.requests.clear()
    path = only_model(stranger.models)
    for number, name in enumerate(["hub:you/model", path.stem, path]):
        out = tmp_path / f"{number}.png"
        ok(stranger.cyclegan(*command, out, "--model", name))
        assert out.read_bytes() == (tmp_path / "one.png").read_bytes()
    assert hub.cdn_bytes() == 0, "it was fetched once"


def test_a_bar_in_bytes(hub: Hub, stranger: User, tmp_path: Path) -> None:
    """On a terminal, and while something is fetched; FORCE_COLOR makes rich believe in one."""
    hub.add("you/model", {"G.pth": WEIGHTS})
    picture = draw(tmp_path / "in.png")
    command = ("translate", picture, "--device", "cpu", "--model", "hub:you/model", "-o")
    stranger.env["FORCE_COLOR"] = "1"
    assert " kB" in ok(stranger.cyclegan(*command, tmp_path / "1.png")).err
    assert " kB" not in ok(stranger.cyclegan(*command, tmp_path / "2.png")).err, "nothing to fetch"


def test_nothing_is_fetched_unasked(hub: Hub, stranger: User, tmp_path: Path) -> None:
    """A repository's bare name is no order to fetch it."""
    hub.add("you/model", {"G.pth": WEIGHTS})
    picture = draw(tmp_path / "in.png")
    command = ("translate", picture, "-o", tmp_path / "out.png", "--model")
    assert "you/model" in complaint(stranger.cyclegan(*command, "you/model"))
    assert hub.seen() == []


def test_list(hub: Hub, stranger: User) -> None:
    hub.add("you/model", {"G.pth": WEIGHTS})
    ok(stranger.cyclegan("pull", "you/model"))
    hub.requests.clear()
    name = only_model(stranger.models).stem
    text = ok(stranger.cyclegan("list")).out
    for part in (name, "photo2monet", "tmabraham/horse2zebra_cyclegan"):
        assert part in text
    assert name in ok(stranger.cyclegan("list", "--json")).out
    assert hub.seen() == [], "it needs no network"


def test_doctor_asks_the_hub_only_when_told_to(hub: Hub, stranger: User) -> None:
    ok(stranger.cyclegan("doctor"))
    assert hub.seen() == []
    repo = next(entry.repo for entry in read_catalog().values() if entry.repo)
    answer = stranger.cyclegan("doctor", "--hub")
    assert (answer.code, "Problem: " in answer.out, repo in answer.out) == (1, True, True)
    hub.add(repo, {"G.pth": WEIGHTS})
    found = ok(stranger.cyclegan("doctor", "--hub", "--json")).json["hub"]
    assert (found["error"], found["has_token"]) == ("", False)


def test_info_tells_where_a_model_is_from(hub: Hub, stranger: User) -> None:
    commit = hub.add("you/model", {"G.pth": WEIGHTS}, card={"license": "mit"}).head
    ok(stranger.cyclegan("pull", "you/model"))
    text = ok(stranger.cyclegan("info", only_model(stranger.models))).out
    for part in ("you/model", commit[:7], "mit"):
        assert part in text


# --- push ---------------------------------------------------------------------------------------


def test_push(hub: Hub, me: User, tmp_path: Path) -> None:
    save_model(OURS, tmp_path / "weights.safetensors")
    answer = ok(me.cyclegan("push", tmp_path / "weights.safetensors", "me/model", "--private"))
    assert f"{hub.url}/me/model" in answer.out
    assert answer.err == "", "no bar in a log"
    assert hub.repositories["me/model"].private
    ok(me.cyclegan("pull", "me/model"))
    assert same(load_model(only_model(me.models)), OURS)


def test_push_without_a_login(hub: Hub, stranger: User, tmp_path: Path) -> None:
    save_model(OURS, tmp_path / "weights.safetensors")
    answer = stranger.cyclegan("push", tmp_path / "weights.safetensors", "me/model")
    assert "hf auth login" in complaint(answer)


# --- a process like any other -------------------------------------------------------------------


def test_with_nothing_but_the_environment(hub: Hub, tmp_path: Path) -> None:
    """The other tests' processes start warm; this one starts cold, and agrees with them."""
    commit = hub.add("you/model", {"G.pth": WEIGHTS}).head
    home = {"HF_HOME": str(tmp_path / "hf"), "CYCLEGAN_MODELS": str(tmp_path / "models")}
    command = [sys.executable, "-m", "cyclegan_core.cli", "pull", f"you/model@{commit}"]
    done = subprocess.run(
        command, env=environment(hub.url, **home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert difference(load_model(only_model(tmp_path / "models")), "a_to_b", network()) == 0
    assert (tmp_path / "hf" / "hub").is_dir()
    agents = {request.agent.split(";")[0] for request in hub.requests if not request.is_cdn}
    assert all(agent.startswith("cyclegan/") for agent in agents), agents
