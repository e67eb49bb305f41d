"""Names for files and networks that are no CycleGAN, so that a refusal can say what to do.

Every description of a file continues a sentence that begins with the file's name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_SAVE_WEIGHTS = "save its `state_dict()` with torch.save or as .safetensors"
_IN_FRAMEWORK = "convert its weights to PyTorch first"
_UNPACK = "unpack it and give the weight file inside"

# (offset, bytes there, description); the first hit counts.
_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (
        0,
        b"version https://git-lfs.github.com/spec/",
        "is a Git LFS pointer, not the weights; run `git lfs pull` or download the file itself",
    ),
    (0, b"\x89HDF\r\n\x1a\n", f"is a Keras or other HDF5 file; {_IN_FRAMEWORK}"),
    (4, b"TFL3", f"is a TensorFlow Lite model; {_IN_FRAMEWORK}"),
    (0, b"GGUF", "is a GGUF file, a format for language models; choose a CycleGAN file"),
    (0, b"\x93NUMPY", f"is a NumPy array; {_IN_FRAMEWORK}"),
    (0, b"\x04\0\0\0\x01\0\0\0\x03\0\0\0V 1", f"is a Lua Torch (.t7) file; {_IN_FRAMEWORK}"),
    (0, b"\x03\0\0\0\x01\0\0\0", f"is a Lua Torch (.t7) file; {_IN_FRAMEWORK}"),
    (0, b"4\n1\n3\nV 1", f"is a Lua Torch (.t7) file; {_IN_FRAMEWORK}"),
    (0, b"\xff\xd8\xff", "is a JPEG picture; choose a weight file"),
    (0, b"\x89PNG\r\n\x1a\n", "is a PNG picture; choose a weight file"),
    (0, b"GIF8", "is a GIF picture; choose a weight file"),
    (8, b"WEBP", "is a WebP picture; choose a weight file"),
    (0, b"PK\x05\x06", "is an empty zip archive; download or copy it again"),
    (0, b"PAR1", "is a Parquet table; choose a weight file"),
    (0, b"\x1f\x8b", f"is a gzip archive; {_UNPACK}"),
    (0, b"BZh", f"is a bzip2 archive; {_UNPACK}"),
    (0, b"\xfd7zXZ\0", f"is an xz archive; {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"is a 7-Zip archive; {_UNPACK}"),
    (0, b"Rar!\x1a\x07", f"is a RAR archive; {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"is a Zstandard archive; {_UNPACK}"),
    (0, b"%PDF", "is a PDF document; choose a weight file"),
)

# (what a member's name ends in or contains, description); the first hit counts.
_ZIP_MEMBERS: tuple[tuple[str, str], ...] = (
    (
        "/constants.pkl",
        f"is a TorchScript program; load it with torch.jit.load and {_SAVE_WEIGHTS}",
    ),
    ("/code/", f"is a TorchScript program; load it with torch.jit.load and {_SAVE_WEIGHTS}"),
    ("archive_format", f"is an exported program (torch.export); from its model, {_SAVE_WEIGHTS}"),
    ("model.weights.h5", f"is a Keras model; {_IN_FRAMEWORK}"),
    ("com.apple.CoreML", f"is a Core ML model; {_IN_FRAMEWORK}"),
    ("saved_model.pb", f"is a TensorFlow model; {_IN_FRAMEWORK}"),
)


# (name, patterns that must all be found among the keys); the first hit counts.
_STRANGERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("CUT feature", (r"(^|\.)mlp_\d+\.",)),
    ("CycleGAN-Turbo (img2img-turbo)", (r"(^|\.)(sd_(encoder|decoder|vae_enc|vae_dec|other))\.",)),
    ("pix2pix-turbo (img2img-turbo)", (r"(^|\.)state_dict_(unet|vae)\.",)),
    ("pix2pixHD", (r"(^|\.)model1_[12]\.\d",)),
    ("AttentionGAN", (r"(^|\.)model\.33\.weight$", r"(^|\.)model\.15\.conv_block\.")),
    ("AttentionGAN", (r"(^|\.)deconv\d_(content|attention)\.",)),
    ("pix2pixHD", (r"(^|\.)model\.10\.weight$", r"\.conv_block\.")),
    ("U-GAT-IT", (r"(^|\.)(DownBlock|UpBlock1_\d)\.",)),
    ("UVCGAN", (r"(^|\.)net\.(layer_input|layer_output|unet|modnet)\.",)),
    ("UVCGAN", (r"\.inner_module\.|re_alpha$|extra_tokens$",)),
    ("GANimation", (r"(^|\.)(img_reg|attetion_reg|attention_reg)\.\d",)),
    ("StarGAN", (r"(^|\.)main\.\d+\.main\.\d",)),
    ("CartoonGAN", (r"(^|\.)(conv0\d_\d\.|in\d\d_\d\.(scale|shift)$)",)),
    ("CartoonGAN", (r"(^|\.)(down_convs\.\d|up\.0\.shuffle\.)",)),
    # Nearly the paper's generator, but nothing normalises its first convolution.
    ("GANs course (deeplearning.ai)", (r"(^|\.)upfeature\.", r"(^|\.)res\.?0\.conv1\.")),
    ("AnimeGAN", (r"(^|\.)(block_[a-e]\.\d|out_layer\.\d)",)),
    ("TransformerNet (fast neural style)", (r"(^|\.)(conv|res|deconv)\d\.(conv\d\.)?conv2d\.",)),
    (
        "MonetTransformer",
        (r"(^|\.)encoder\.0\.weight$", r"(^|\.)res_blocks\.\d+\.[15]\.", r"(^|\.)decoder\.0\."),
    ),
    ("GANILLA", (r"(^|\.)P[2-5]_1\.",)),
    ("UNIT or MUNIT", (r"(^|\.)(shared_block\.|(content|style)_encoder\.model\.\d)",)),
    ("DRIT", (r"(^|\.)enc_c\.conv",)),
    ("GauGAN (SPADE)", (r"(^|\.)head_0\.norm_[0s]\.mlp_shared\.",)),
    ("StarGAN v2", (r"(^|\.)from_rgb\.", r"(^|\.)decode\.\d\.norm1\.fc\.")),
    ("StyleGAN", (r"(^|\.)synthesis\.(b|L)\d", r"(^|\.)mapping\.fc\d")),
    ("UNIT or MUNIT", (r"(^|\.)enc(_content)?\.model\.\d", r"(^|\.)dec\.model\.\d")),
    ("diffusion (U-Net of diffusers)", (r"(^|\.)time_embedding\.", r"(^|\.)down_blocks\.\d")),
    ("pix2pix or DualGAN U-Net", (r"(^|\.)down\d\.model\.\d", r"(^|\.)up\d\.model\.\d")),
    ("Stable Diffusion or LoRA", (r"(^|\.)(diffusion_model\.|lora_)|\.lora_",)),
    (
        "Stable Diffusion autoencoder (VAE)",
        (r"(^|\.)encoder\.(down\.\d|down_blocks\.\d|conv_in\.)", r"(^|\.)(post_)?quant_conv\."),
    ),
    ("upscaling (ESRGAN)", (r"(^|\.)(RRDB_trunk\.|body\.0\.rdb1\.|model\.1\.sub\.)",)),
)


def describe_file(head: bytes) -> str:
    """What a file that begins with `head` (up to 4096 bytes) is, and what to do about it."""
    if not head:
        return "is empty; download or copy it again"
    for offset, magic, description in _MAGIC:
        if head.startswith(magic, offset):
            return description
    if head[257:262] == b"ustar":
        first = head[:100].rstrip(b"\0").strip(b"./")
        if first in (b"storages", b"tensors", b"pickle", b"sys_info"):
            return (
                "was written by a PyTorch from before 2017; load it with PyTorch 1.x "
                f"and {_SAVE_WEIGHTS}"
            )
        return f"is a tar archive; {_UNPACK}"
    if head[:1] == b"\x80" and head[1:2] in b"\x02\x03\x04\x05":
        return f"is a Python pickle that torch.save did not write; {_SAVE_WEIGHTS}"
    protobuf = _describe_protobuf(head)
    if protobuf:
        return protobuf
    text = _text(head)
    if text is None:
        return "is no weight file of a known kind; choose a .safetensors or .pth file"
    if text.lstrip("\ufeff \t\r\n").lower().startswith(("<!doctype html", "<html", "<?xml")):
        return "is a web page, not weights; the link may need a login, so download it again"
    return "is a text file; choose a weight file"


def describe_zip(names: Sequence[str]) -> str | None:
    """What a zip archive of these members is if torch.save did not write it, and what to do."""
    for mark, description in _ZIP_MEMBERS:
        if any(mark in name for name in names):
            return description
    if any(name.count("/") == 1 and name.endswith("/data.pkl") for name in names):
        return None
    if names and all(name.endswith(".npy") for name in names):
        return f"is a NumPy archive (.npz); {_IN_FRAMEWORK}"
    return f"is a zip archive; {_UNPACK}"


def _describe_protobuf(head: bytes) -> str | None:
    """ONNX and Core ML start with a version number (field 1), then a text or a message."""
    if len(head) < 4 or head[0] != 0x08 or not 0 < head[1] < 32:
        return None
    # Field 2 is a plain name in ONNX (the producer's), and a message in Core ML.
    name = head[4 : 4 + head[3]]
    is_name = bool(name) and all(0x20 <= byte < 0x7F for byte in name)
    if head[2] == 0x12 and b"\x0a" in head[4:6] and head[1] <= 12 and not is_name:
        return f"is a Core ML model; {_IN_FRAMEWORK}"
    # ONNX fields: producer's name and version, domain, model version, note, graph, operator set.
    if head[2] in (0x12, 0x1A, 0x22, 0x28, 0x32, 0x3A, 0x42):
        return f"is an ONNX model; from the PyTorch network it was exported from, {_SAVE_WEIGHTS}"
    return None


def _text(head: bytes) -> str | None:
    """The bytes as text, or None if they are none; the last character may be cut."""
    if b"\0" in head:
        return None
    text = head.decode("utf-8", errors="ignore")
    if len(text.encode()) < len(head) - 3:
        return None
    return text if all(char.isprintable() or char.isspace() for char in text) else None


def name_stranger(keys: Iterable[str]) -> str | None:
    """The name of a known network that is no CycleGAN generator of the original design."""
    names = list(keys)
    for network, patterns in _STRANGERS:
        if all(any(re.search(pattern, name) for name in names) for pattern in patterns):
            return network
    return None
