"""What the tests expect of a pull: that it works, or that it is refused properly."""

from __future__ import annotations

from cyclegan_core import CycleGAN, load_model

from ..weights import difference
from .clients import User
from .samples import holds_nothing, network, one_half

CDN = r"GET /[0-9a-f]{64}"
"""The requests for large files."""
WEIGHTS = one_half()


def pulled(user: User, *arguments, **options) -> CycleGAN:
    """Pull and load."""
    answer = user.pull(*arguments, **options)
    assert answer.code == 0, answer.out + answer.err
    return load_model(answer.json["path"])


def refused(user: User, *arguments, **options) -> str:
    """The sentence of a pull in vain; nothing is installed."""
    answer = user.pull(*arguments, **options)
    assert answer.code == 1, answer.out + answer.err
    assert answer.json["error"] == "DownloadError"
    assert holds_nothing(user.models)
    message = answer.json["message"]
    assert "\n" not in message
    assert message.endswith(".")
    assert not list(user.cache.rglob("*.incomplete"))
    return message


def works(user: User) -> bool:
    """The same pull once the fault is over."""
    answer = user.pull("you/model")
    assert answer.code == 0, answer.out + answer.err
    return difference(load_model(answer.json["path"]), "a_to_b", network()) == 0
