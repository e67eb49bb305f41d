"""Which repository, revision and files are meant, by names alone."""

from __future__ import annotations

import pytest

from cyclegan_core import DownloadError
from cyclegan_core.hub.repository import (
    HubFile,
    choose,
    config_name,
    is_commit,
    is_safe_name,
    local_name,
    place,
    split_id,
)

from ..names import HOSTILE

COMMIT = "0123456789" * 4
SHA256 = "ab" * 32


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("you/model", ("you/model", None)),
        ("you/model@v1.0", ("you/model", "v1.0")),
        ("hub:you/model@refs/pr/3", ("you/model", "refs/pr/3")),
        ("https://huggingface.co/you/model/", ("you/model", None)),
        ("You-1/my_model.v2@" + COMMIT, ("You-1/my_model.v2", COMMIT)),
    ],
)
def test_ids(text: str, expected: tuple[str, str | None]) -> None:
    assert split_id(text) == expected
    assert split_id(text, expected[1]) == expected
    assert split_id(place(*expected)) == expected


def test_a_revision_beside_the_id() -> None:
    assert split_id("you/model", "v2") == ("you/model", "v2")
    assert split_id("you/model", "") == ("you/model", None)
    with pytest.raises(ValueError, match="two revisions of you/model are asked for, v1 and v2"):
        split_id("you/model@v1", "v2")


@pytest.mark.parametrize(
    "text",
    ["", "model", "a/b/c", "/model", "you/", "you/my model", "../model", "you/..", "you/a--b", "@"],
)
def test_what_is_no_repository(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no repository of the Hub; write it as owner/repo"):
        split_id(text)


@pytest.mark.parametrize("revision", ["..", "a..b", "/etc", "../../x", "a b", "a\\b", "-x", "a\n"])
def test_what_is_no_revision(revision: str) -> None:
    with pytest.raises(ValueError, match="is no revision; name a branch, a tag or a commit"):
        split_id("you/model", revision)


def test_commits() -> None:
    assert is_commit(COMMIT)
    for other in (None, "main", COMMIT[:12], COMMIT.upper() + "A", COMMIT + "0", COMMIT + "\n"):
        assert not is_commit(other)


def test_names_of_pulled_files() -> None:
    assert local_name("you/model", None, None) == "you--model.safetensors"
    assert local_name("you/model", "main", None) == "you--model.safetensors"
    assert local_name("you/model", COMMIT, None) == "you--model--012345678901.safetensors"
    assert local_name("you/m", "refs/pr/1", "a/G.pth") == "you--m--refs_pr_1--a_G.safetensors"
    assert local_name("you/m", None, "netG.pth.tar") == "you--m--netG.pth.safetensors"


@pytest.mark.parametrize(
    ("names", "chosen"),
    [
        (["config.json", "model.safetensors", "README.md"], ["model.safetensors"]),
        (["pytorch_model.bin", "model.safetensors"], ["model.safetensors"]),
        (["pytorch_model.bin", "learner.pkl"], ["pytorch_model.bin"]),
        (["latest_net_G.pth", "latest_net_D.pth"], ["latest_net_G.pth"]),
        (["w/G.pth", "README.md"], ["w/G.pth"]),
        (["G.pth", "old/G.pth"], ["G.pth"]),
        (["model.safetensors", "old/model.safetensors"], ["model.safetensors"]),
        (["5_net_G.pth", "latest_net_G.pth"], ["latest_net_G.pth"]),
        ([".hidden.pth", "generator.ckpt"], ["generator.ckpt"]),
    ],
)
def test_a_single_file(names: list[str], chosen: list[str]) -> None:
    assert list(choose("you/m", names, None).items()) == [(None, chosen[0])]


@pytest.mark.parametrize(
    ("names", "forward", "backward"),
    [
        (["disc_A.pth", "disc_B.pth", "gen_AB.pth", "gen_BA.pth"], "gen_AB.pth", "gen_BA.pth"),
        (["netG_A2B.pth", "netG_B2A.pth"], "netG_A2B.pth", "netG_B2A.pth"),
        (["x/G_B.pth", "x/G_A.pth"], "x/G_A.pth", "x/G_B.pth"),
        (
            ["5_net_G_A.pth", "5_net_G_B.pth", "latest_net_G_A.pth", "latest_net_G_B.pth"],
            "latest_net_G_A.pth",
            "latest_net_G_B.pth",
        ),
    ],
)
def test_a_pair(names: list[str], forward: str, backward: str) -> None:
    assert choose("you/m", names, None) == {"a_to_b": forward, "b_to_a": backward}


def test_several_candidates_are_listed() -> None:
    names = [f"style{number}.pth" for number in range(10)]
    with pytest.raises(DownloadError) as caught:
        choose("you/m", names, None)
    text = str(caught.value)
    assert text.startswith("you/m has several weight files (style0.pth, style1.pth, ")
    assert "style7.pth, …); choose one with --file" in text
    assert choose("you/m", names, "style9.pth") == {None: "style9.pth"}


def test_no_candidate() -> None:
    with pytest.raises(DownloadError, match=r"no weight file .* but model\.h5, a\.onnx; choose"):
        choose("you/m", ["model.h5", "a.onnx", "README.md", ".gitattributes"], None)
    with pytest.raises(DownloadError, match=r"no weight file \(.*\); choose another repository"):
        choose("you/m", [], None)


def test_a_file_that_is_not_there_or_no_weights() -> None:
    names = ["G.pth", "README.md"]
    with pytest.raises(DownloadError, match=r"g.pth does not exist in you/m; .* are: G\.pth\."):
        choose("you/m", names, "g.pth")
    with pytest.raises(DownloadError, match=r"README.md is no weight file in you/m; .*: G\.pth\."):
        choose("you/m", names, "README.md")
    with pytest.raises(DownloadError, match=r"weight files are: none\."):
        choose("you/m", [], "../../etc/passwd")


def test_where_settings_belong() -> None:
    assert config_name(["model.safetensors"]) == "config.json"
    assert config_name(["a/b/G_A.pth", "a/b/G_B.pth"]) == "a/b/config.json"


@pytest.mark.parametrize(
    "name", ["G.pth", "a/b.pth", "über–x.pth", "..x", "a/..b", ".x", "a b.pth"]
)
def test_safe_names(name: str) -> None:
    assert is_safe_name(name)
    assert HubFile(name, 0, SHA256, None).name == name


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "../G.pth", "a/../../G.pth", "a/..", "/G.pth", "//h/G.pth"),
        *("\\G.pth", "a\\b", "..\\G.pth", "C:/G.pth", "C:G.pth", "c:\\G.pth", "G.pth:stream"),
        *("a\0b", "a\nb", "a\x1b[2J"),
    ],
)
def test_names_that_lead_elsewhere(name: str) -> None:
    """On any system: a repository may have been listed for another one."""
    assert not is_safe_name(name)
    with pytest.raises(ValueError, match="leads out of the repository"):
        HubFile(name, 0, SHA256, None)


@pytest.mark.parametrize(
    ("size", "sha256", "blob_id", "reason"),
    [
        (-1, SHA256, None, "size of G.pth is not stated"),
        (5, None, None, "checksum of G.pth is not stated"),
        (5, "ab", COMMIT, "checksum of G.pth is not stated"),
        (5, None, SHA256, "checksum of G.pth is not stated"),
    ],
)
def test_what_can_not_be_verified(
    size: int, sha256: str | None, blob_id: str | None, reason: str
) -> None:
    with pytest.raises(ValueError, match=reason):
        HubFile("G.pth", size, sha256, blob_id)


@pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)
def test_names_that_become_no_path(name: str) -> None:
    """From a server, a person, or a program: none becomes a path."""
    with pytest.raises(ValueError, match="leads out of the repository, or is none on some"):
        HubFile(name, 1, SHA256, None)
    with pytest.raises(ValueError, match="is no file of a repository"):
        local_name("you/model", None, name)
    with pytest.raises(ValueError, match="is no revision"):
        split_id("you/model", name)


def test_a_name_that_gets_too_long() -> None:
    with pytest.raises(ValueError, match="is too long for a disk; name a shorter revision or file"):
        local_name("you/model", "r" * 200, "f" * 60 + ".pth")
