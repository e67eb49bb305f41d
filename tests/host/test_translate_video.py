"""Load Video → Translate Video → Save Video, against the same call of the library."""

from __future__ import annotations

from pathlib import Path

import cyclegan_core
from cyclegan_core.config import FilmSettings
from cyclegan_core.films import translate_film
from tests.unit.films.clips import make_clip, pixels_of, sound_of, times_of

from .client import Client, Graph, Message
from .comfyui import Host
from .graphs import AUTO, load_model, node


def film_graph(source: str, **inputs: object) -> Graph:
    own = {"model": ["load", 0], "video": ["video", 0], "direction": AUTO, "precision": "fp32"}
    return load_model("both.safetensors") | {
        "video": node("LoadVideo", file=source),
        "film": node("CycleGAN_TranslateVideo", **(own | inputs)),
        "save": node(
            "SaveVideo", video=["film", 0], filename_prefix="film", format="auto", codec="auto"
        ),
    }


def saved(client: Client, host: Host, graph: Graph) -> Path:
    run = client.run_prompt(graph)
    assert run.error is None, run.failure
    (file,) = run.outputs["save"]["images"]
    return host.output_dir / file["subfolder"] / file["filename"]


def test_a_video_becomes_a_video_with_its_sound(
    client: Client, host: Host, both: cyclegan_core.CycleGAN, tmp_path: Path
) -> None:
    source = make_clip(host.input_dir / "clip.mp4", times=[0, 4, 5, 30, 31, 90, 97], sound="aac")
    result = saved(client, host, film_graph(source.name, statistics="smoothed", strength=0.5))
    expected = tmp_path / "expected.mp4"
    smoothed = FilmSettings(statistics="smoothed", steadiness=0.8)
    translate_film(both, source, expected, settings=smoothed, strength=0.5)
    assert (pixels_of(result) == pixels_of(expected)).all()
    assert times_of(result) == times_of(source)
    assert sound_of(result) == sound_of(source) != []


def test_no_strength_is_the_video_itself(client: Client, host: Host) -> None:
    source = make_clip(host.input_dir / "as it is.mp4", frames=5)
    result = saved(client, host, film_graph(source.name, strength=0.0))
    assert (pixels_of(result) == pixels_of(source)).all()


def test_a_video_of_pictures_is_taken(client: Client, host: Host) -> None:
    """One that lies in no file."""
    graph = film_graph("", video=["made", 0])
    del graph["video"]
    graph["examples"] = node("CycleGAN_Examples")
    graph["made"] = node("CreateVideo", images=["examples", 2], fps=6)
    assert len(times_of(saved(client, host, graph))) > 2


def test_cancel_stops_between_two_frames_and_leaves_no_result(client: Client, host: Host) -> None:
    source = make_clip(host.input_dir / "long.mp4", frames=400, size=(160, 120))

    def cancel(message: Message) -> None:
        if message.type == "progress" and message.data["value"] == 1:
            client.interrupt()

    run = client.run_prompt(film_graph(source.name, statistics="frame"), on_message=cancel)
    assert run.ending == "execution_interrupted"
    last = run.of_type("progress")[-1]
    assert (last["max"], last["value"] < 400) == (400, True)
    assert run.outputs == {}


def test_what_is_no_video_is_refused_in_a_sentence(client: Client, host: Host) -> None:
    (host.input_dir / "text.mp4").write_text("not a video", encoding="utf-8")
    refusal = client.refusal(film_graph("text.mp4"), "film")
    assert "text.mp4 is damaged, or not a video that can be read" in refusal
