"""The command as torchrun starts it, whose rank 1 is killed once; for `test_ranks.py`."""

import os
import runpy
import signal

from cyclegan_core.training.trainer import Trainer

AFTER = 5
"""The step after which it is killed, the first time."""
train_step = Trainer.train_step


def or_die(trainer, real_a, real_b):
    is_first = os.environ["TORCHELASTIC_RESTART_COUNT"] == "0"
    if is_first and trainer.rank == 1 and trainer.step == AFTER:
        os.kill(os.getpid(), signal.SIGKILL)
    return train_step(trainer, real_a, real_b)


Trainer.train_step = or_die
runpy.run_module("cyclegan_core.cli", run_name="__main__")
