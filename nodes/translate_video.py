"""Translate Video (CycleGAN): a video file's frames, one after the other, with its sound."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path

import folder_paths
from comfy_api.input import VideoInput
from comfy_api.input_impl import VideoFromFile
from comfy_api.latest import io

from ..cyclegan_core import CycleGAN
from ..cyclegan_core.config import FilmSettings
from ..cyclegan_core.distillation import weights_digest
from ..cyclegan_core.films import fitting_suffix, read_clip, translate_film
from ..cyclegan_core.translation import work_shape
from . import host


class TranslateVideoCycleGAN(io.ComfyNode):
    """VIDEO in, VIDEO of the same size, times and sound out; a few frames are in memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return host.schema(
            node_id="CycleGAN_TranslateVideo",
            display_name="Translate Video (CycleGAN)",
            search_aliases=["film", "movie", "clip", "video to video", "vid2vid", "flicker"],
            description=(
                "Translates a video of any length without holding its frames in memory. Size, "
                "sound and frame rate, even a variable one, stay; what stands still does not "
                "flicker, and strokes stay on what moves."
            ),
            inputs=[
                host.CycleGANType.Input("model", tooltip="From Load CycleGAN."),
                io.Video.Input("video", tooltip="From Load Video, or any other video."),
                host.direction_input(),
                host.strength_input(
                    "Blends the translation over the video: 0 is the video, 1 the translation."
                ),
                io.Combo.Input(
                    "statistics",
                    options=list(host.STATISTICS),
                    default="shared",
                    optional=True,
                    tooltip="shared: all frames with the means of the whole video, measured "
                    "first, so that what stands still stays still. smoothed: with an average of "
                    "the frames so far, for several scenes. frame: each for itself; it may "
                    "flicker.",
                ),
                host.smoothing_frames_input(),
                host.work_size_input(
                    "How large the video is while it is painted: the smaller, the broader the "
                    "strokes; the result keeps the video's size. Pixels of the short side, such "
                    "as 300. 0: the video's own size. -1: what suits the model."
                ),
                host.detail_input(),
                host.memory_input(),
                host.precision_input(),
                io.Float.Input(
                    "steadiness",
                    optional=True,
                    default=0.8,
                    min=0.0,
                    max=0.95,
                    step=0.05,
                    tooltip="How much of each frame is carried on to the next, along the video's "
                    "own motion, so that strokes do not swim. 0: every frame is painted anew.",
                ),
            ],
            outputs=[
                io.Video.Output(
                    tooltip="The video in the other domain's style, in H.264, with the sound of "
                    "the original; for Save Video."
                )
            ],
        )

    @classmethod
    @host.faults_told()
    def execute(
        cls,
        model: CycleGAN,
        video: VideoInput,
        direction: str = host.AUTO,
        strength: float = 1.0,
        statistics: str = "shared",
        smoothing_frames: float = 12.0,
        work_size: int = 0,
        detail: float = 1.0,
        memory: str = "auto",
        precision: str = "auto",
        steadiness: float = 0.8,
    ) -> io.NodeOutput:
        """Find the file, translate it into the host's folder for temporary files."""
        way, how, dtype = host.how_to_translate(model, direction, memory, precision)
        host.show_text(host.describe_direction(model, way))
        if strength == 0:
            return io.NodeOutput(video)
        size = host.work_size_of(work_size)
        settings = FilmSettings(
            statistics=host.chosen(host.STATISTICS, "statistics", statistics),
            smoothing_frames=smoothing_frames,
            steadiness=steadiness,
        )
        folder = Path(folder_paths.get_temp_directory())
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as copies:
            source = _file_of(video, Path(copies))
            clip = read_clip(source, count=False)
            # A run that was cancelled finds its segments again by the name of its result, which
            # another one never takes: the host may still show that.
            words = [source, source.stat().st_mtime_ns, weights_digest(model, way), way, settings]
            words += [strength, size, detail, how, dtype]
            name = hashlib.sha256(repr(words).encode()).hexdigest()[:16]
            target = folder / f"cyclegan_{name}{fitting_suffix(clip)}"
            shape = work_shape((clip.height, clip.width), size, model.config)
            with host.lease(model, (1, *shape), dtype, how):
                translate_film(
                    model,
                    source,
                    target,
                    way,
                    settings,
                    strength=strength,
                    on_progress=host.picture_progress(1),
                    memory=how,
                    dtype=dtype,
                    limits=host.limits(),
                    work_size=size,
                    detail=detail,
                )
        return io.NodeOutput(VideoFromFile(str(target)))


def _file_of(video: VideoInput, folder: Path) -> Path:
    """The whole video as a file: its own where it has one, else one that the host writes."""
    if isinstance(video, VideoFromFile) and hasattr(video, "get_stream_source"):
        source = video.get_stream_source()
        if isinstance(source, str):
            read_clip(Path(source), count=False)  # what is wrong with it is said in our words
            # Newer hosts can cut a video, and keep the whole file behind it.
            if abs(VideoFromFile(source).get_duration() - video.get_duration()) < 1e-3:
                return Path(source)
    copy = folder / "clip.mp4"
    video.save_to(str(copy))
    return copy
