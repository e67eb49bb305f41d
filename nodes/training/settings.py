"""CycleGAN Train Settings: the expert's knobs, for Train CycleGAN on Folders."""

from __future__ import annotations

from typing import Any, get_args, get_type_hints

from comfy_api.latest import io

from ...cyclegan_core.config import DataConfig, ModelConfig, TrainConfig
from ...cyclegan_core.training import PRESETS, Preset
from .. import host

SettingsType = io.Custom("CYCLEGAN_TRAIN_SETTINGS")
"""On its wire: {"train": …, "model": …, "data": …}, fields of the three configs by name."""

_TRAIN = TrainConfig()
_DATA = DataConfig()
_SHOWN = ("objective",)
"""What is no matter for experts: whether the pictures are pairs."""
_PRESETS: dict[str, Preset | None] = {"none": None, **PRESETS}


def _choices(config: type, name: str) -> list[str]:
    return list(get_args(get_type_hints(config)[name]))


def _number(
    name: str, default: float, tooltip: str, *, most: float = 1000.0, step: float = 0.1
) -> io.Float.Input:
    # The page rounds what is typed to the decimals of `step`.
    return io.Float.Input(name, default=default, min=0.0, max=most, step=step, tooltip=tooltip)


class CycleGANTrainSettings(io.ComfyNode):
    """A preset, and folded away everything else; the defaults are the paper's, but for averaging.

    Workflows keep values by position, so that new widgets come last.
    """

    @classmethod
    def define_schema(cls) -> io.Schema:
        """Inputs and outputs."""
        return host.schema(
            node_id="CycleGAN_TrainSettings",
            display_name="CycleGAN Train Settings",
            search_aliases=["preset", "quick", "style", "learning rate", "hyperparameters"],
            description=(
                "Settings for Train CycleGAN on Folders: a preset for the kind of task, and for "
                "experts (show the advanced inputs) the networks, the losses, how they learn, and "
                "the run. The defaults are the paper's; the averaging, ema_decay, is new. "
                + " ".join(f"{name}: {preset.advice}" for name, preset in PRESETS.items())
            ),
            inputs=[
                _preset_input(),
                *_folded("Networks", _network_inputs()),
                *_folded("Losses", _loss_inputs()),
                *_folded("Learning", _optimiser_inputs()),
                *_folded("Run", _run_inputs()),
                *_folded("Losses", _newest_inputs()),
            ],
            outputs=[
                SettingsType.Output(
                    display_name="settings", tooltip="For Train CycleGAN on Folders."
                )
            ],
        )

    @classmethod
    def execute(cls, preset: str, **values: Any) -> io.NodeOutput:  # noqa: ANN401 - one per widget
        """Sort the widgets' values to the configs they belong to; a preset goes before them."""
        settings: dict[str, dict[str, Any]] = {"train": {}, "model": {}, "data": {}}
        chosen = host.chosen(_PRESETS, "preset", preset)
        for kind, config in (("model", ModelConfig()), ("train", _TRAIN), ("data", _DATA)):
            for name, value in values.items():
                if hasattr(config, name) and value is not None:
                    settings[kind][name] = value
            if chosen:
                settings[kind] |= getattr(chosen, kind)
        if settings["train"].get("precision") == "auto":
            del settings["train"]["precision"]
        if settings["train"].get("lr_discriminator") == 0:
            settings["train"]["lr_discriminator"] = None
        return io.NodeOutput(settings)


def _what(preset: str) -> str:
    """A preset's settings, for people."""
    chosen = PRESETS[preset]
    changes = {**chosen.model, **chosen.train, **chosen.data}
    return ", ".join(f"{name} {value}" for name, value in changes.items())


def _preset_input() -> io.Input:
    return io.Combo.Input(
        "preset",
        options=list(_PRESETS),
        default="none",
        tooltip="A starting point by kind of task; none: the paper's settings. What it sets goes "
        "before the widgets: "
        + "; ".join(f"{name} sets {_what(name)}" for name in PRESETS)
        + ". The rest is as you set it.",
    )


def _folded(group: str, inputs: list[io.Input]) -> list[io.Input]:
    """Widgets for experts, whose help begins with what they are about."""
    for widget in inputs:
        widget.tooltip = f"{group}. {widget.tooltip}"
    return [w if w.id in _SHOWN else host.advanced(w) for w in inputs]


def _network_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "num_blocks",
            default=ModelConfig().num_blocks,
            min=1,
            max=18,
            tooltip="Residual blocks: 6 for pictures of 128 pixels, 9 from 256 on.",
        ),
        io.Int.Input(
            "base_channels",
            default=ModelConfig().base_channels,
            min=4,
            max=256,
            tooltip="Width of the networks; 32 is four times as fast as 64 and learns less.",
        ),
        io.Combo.Input(
            "upsample",
            options=_choices(ModelConfig, "upsample"),
            default=ModelConfig().upsample,
            tooltip="transposed: the paper's. resize: no checkerboard patterns. bilinear: nor any "
            "blocks, as in CUT.",
        ),
        io.Int.Input(
            "disc_layers",
            default=_TRAIN.disc_layers,
            min=1,
            max=5,
            tooltip="Depth of the discriminators: 3 judges patches of 70 pixels, 4 of 142.",
        ),
        io.Combo.Input(
            "preprocess",
            options=_choices(DataConfig, "preprocess"),
            default=_DATA.preprocess,
            tooltip="How pictures become squares: resize_and_crop keeps the aspect, crop keeps "
            "the resolution, square_and_crop squashes as the original implementation does.",
        ),
        io.Boolean.Input(
            "flip", default=_DATA.flip, tooltip="Mirror every second picture at random."
        ),
    ]


def _loss_inputs() -> list[io.Input]:
    return [
        io.Combo.Input(
            "objective",
            options=_choices(TrainConfig, "objective"),
            default=_TRAIN.objective,
            tooltip="cyclegan: two folders whose pictures have nothing to do with each other. "
            "pix2pix: pairs, which teach more and sooner. Partners have the same name in folder_a "
            "and folder_b; or choose one folder twice whose files show A (left) beside B (right).",
        ),
        io.Combo.Input(
            "directions",
            options=_choices(TrainConfig, "directions"),
            default=_TRAIN.directions,
            tooltip="What pix2pix learns; cyclegan always learns both.",
        ),
        _number(
            "lambda_l1",
            _TRAIN.lambda_l1,
            "pix2pix's weight of the distance to the true partner; its look has the weight 1.",
        ),
        io.Combo.Input(
            "gan_mode",
            options=_choices(TrainConfig, "gan_mode"),
            default=_TRAIN.gan_mode,
            tooltip="Adversarial loss: least squares, likelihood, Wasserstein with penalty, or "
            "hinge.",
        ),
        _number("lambda_a", _TRAIN.lambda_a, "Weight of A → B → A; lower it if nothing changes."),
        _number("lambda_b", _TRAIN.lambda_b, "Weight of B → A → B; lower it if nothing changes."),
        io.Int.Input(
            "pool_size",
            default=_TRAIN.pool_size,
            min=0,
            max=1000,
            tooltip="Earlier results that the discriminators are shown again.",
        ),
    ]


def _optimiser_inputs() -> list[io.Input]:
    return [
        _number("lr", _TRAIN.lr, "Learning rate of the generators.", most=0.1, step=1e-5),
        _number(
            "lr_discriminator",
            0.0,
            "Learning rate of the discriminators; 0: the generators'.",
            most=0.1,
            step=1e-5,
        ),
        io.Combo.Input(
            "schedule",
            options=_choices(TrainConfig, "schedule"),
            default=_TRAIN.schedule,
            tooltip="How the learning rate falls over the training.",
        ),
        io.Int.Input(
            "batch_size",
            default=_TRAIN.batch_size,
            min=1,
            max=64,
            tooltip="Pictures of each domain per step; the paper uses 1.",
        ),
        _number(
            "ema_decay",
            _TRAIN.ema_decay,
            "Averaging of the exported generators over the steps; 0: none.",
            most=0.9999,
            step=1e-4,
        ),
    ]


def _run_inputs() -> list[io.Input]:
    return [
        io.Int.Input(
            "sample_every",
            default=_TRAIN.sample_every,
            min=1,
            max=100_000,
            tooltip="Steps between sample grids: the live preview, and files in the run folder.",
        ),
        io.Int.Input(
            "save_every",
            default=_TRAIN.save_every,
            min=1,
            max=100_000,
            tooltip="Steps between saves of everything; also what a power cut costs at most.",
        ),
        io.Int.Input(
            "accumulate",
            default=_TRAIN.accumulate,
            min=1,
            max=64,
            tooltip="Parts that a batch is computed in, one after the other: less memory, the same "
            "learning. Must divide batch_size.",
        ),
        io.Boolean.Input(
            "recompute",
            default=_TRAIN.recompute,
            tooltip="Keep less for the way back and compute it twice: a third slower, less memory.",
        ),
        io.Boolean.Input(
            "cuda_graph",
            default=_TRAIN.cuda_graph,
            tooltip="On an NVIDIA GPU, record a step once and replay it: faster, a little more "
            "memory. Without effect elsewhere. Turn it off if training fails at its fourth step.",
        ),
        io.Combo.Input(
            "precision",
            options=["auto", *_choices(TrainConfig, "precision")],
            default="auto",
            tooltip="auto: what the host thinks its GPU is good at, fp32 on a processor. bf16 is "
            "more than twice as fast on processors with bf16 units.",
        ),
    ]


def _newest_inputs() -> list[io.Input]:
    return [
        _number(
            "lambda_features",
            _TRAIN.lambda_features,
            "pix2pix's weight of the distance to the true partner in ImageNet's features, which "
            "keeps detail: a tenth of lambda_l1 is a start; 0: none.",
        ),
    ]
