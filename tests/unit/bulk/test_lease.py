"""One driver at a time, and what a dead one leaves."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from cyclegan_core.bulk import lease as leases
from cyclegan_core.bulk.lease import NAME, leased
from cyclegan_core.bulk.places import find_place
from cyclegan_core.errors import CycleGANError


def test_a_second_driver_is_refused_and_a_lease_ends(tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    told: list[str] = []
    with leased(place, told.append) as first:
        first.check()
        with pytest.raises(CycleGANError, match=r"Another driver .* is filling"):
            leased(place, told.append).__enter__()
    assert place.size(NAME) is None
    with leased(place, told.append):
        pass
    assert told == []


def test_the_lease_of_a_dead_driver_is_taken_over(tmp_path: Path) -> None:
    code = (
        "import os, sys; from cyclegan_core.bulk.lease import leased\n"
        "from cyclegan_core.bulk.places import find_place\n"
        "held = leased(find_place(sys.argv[1]), print); held.__enter__(); os._exit(9)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == 9
    place = find_place(str(tmp_path))
    assert place.size(NAME)
    told: list[str] = []
    with leased(place, told.append) as lease:
        lease.check()
    (sentence,) = told
    assert sentence.startswith("The driver before (process ")
    assert sentence.endswith("is dead; its lease is taken over.")


@pytest.mark.parametrize("is_alive", [True, False])
def test_a_driver_elsewhere_is_watched(*, is_alive: bool, tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    other = leases.Lease(place, 0.02)
    held = json.loads(other.content()) | {"host": "elsewhere"}
    other.content = lambda: json.dumps(held | {"count": other._count}).encode()
    place.create(NAME, other.content())
    told: list[str] = []
    if is_alive:
        other.start()
        with pytest.raises(CycleGANError, match="on elsewhere"):
            leased(place, told.append, seconds=0.1).__enter__()
        other.end()
    else:
        with leased(place, told.append, seconds=0.02) as lease:
            lease.check()
        assert "taken over" in told[-1]
    assert told[0].endswith("waiting to see whether that driver is alive.")


def test_who_has_lost_the_lease_stops(tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    with leased(place, print, seconds=0.01) as lease:
        place.write_own(NAME, json.dumps({"id": "another"}).encode())
        lease._thread.join(timeout=30)
        with pytest.raises(CycleGANError, match="has taken over"):
            lease.check()
    assert place.size(NAME)


def test_half_a_lease_is_no_lease(tmp_path: Path) -> None:
    place = find_place(str(tmp_path))
    place.write_own(NAME, b'{"id": "12')
    told: list[str] = []
    with leased(place, told.append, seconds=0.01) as lease:
        lease.check()
    assert "taken over" in told[-1]


def test_a_target_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name, why in (
        ("file", "Not a directory"),
        ("link", "link is a link that leads nowhere"),
        ("link/out", "link is a link that leads nowhere"),
    ):
        with pytest.raises(CycleGANError, match=f"can't be written to: {why}; choose another"):
            leased(find_place(str(tmp_path / name)), print).__enter__()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "link"]
