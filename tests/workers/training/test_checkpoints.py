"""Does a checkpoint survive a full disk, damage, and somebody else's recipe?"""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import ROOT
from tests.workers.training.tiny import make_recipe
from workers.training import checkpoints
from workers.training.checkpoints import Checkpoint
from workers.training.errors import BadCheckpoint


def make_checkpoint(**changes: object) -> Checkpoint:
    plain = Checkpoint(
        step=5,
        recipe=make_recipe().canonical(),
        processes=1,
        network={"weight": torch.arange(6.0).reshape(2, 3)},
        average={"weight": torch.ones(2, 3)},
        optimisers={"all": {"state": {0: {"step": torch.tensor(5.0)}}}},
        window={"loss": 1.5},
        seconds=2.5,
        waiting_s=0.5,
    )
    return replace(plain, **changes)


def test_what_was_saved_is_what_is_loaded(tmp_path: Path):
    checkpoints.save(tmp_path, make_checkpoint())

    found = checkpoints.load(tmp_path)

    assert found is not None
    assert torch.equal(found.network["weight"], torch.arange(6.0).reshape(2, 3))
    assert replace(found, network={}, average={}, optimisers={}) == make_checkpoint(
        network={}, average={}, optimisers={}
    )
    assert {p.name for p in tmp_path.iterdir()} == {checkpoints.FILE, checkpoints.STEP_FILE}


def test_where_nothing_was_saved_nothing_is_found(tmp_path: Path):
    assert checkpoints.load(tmp_path) is None


SAVE_IN_LITTLE_ROOM = """
import resource, sys
from pathlib import Path

import torch

from app.errors import InsufficientStorage
from tests.workers.training.test_checkpoints import make_checkpoint
from workers.training import checkpoints

room_bytes = int(sys.argv[2])
larger = make_checkpoint(step=6, network={"weight": torch.zeros(1 << 16)})
resource.setrlimit(resource.RLIMIT_FSIZE, (room_bytes, room_bytes))
try:
    checkpoints.save(Path(sys.argv[1]), larger)
except InsufficientStorage as error:
    print(error)
"""


def _save_with_little_room(folder: Path, *, room_bytes: int) -> str:
    """Save a larger checkpoint in a process that may write no more; return what it said."""
    # A process of its own: a forked one would wait for ever for the threads of torch.
    done = subprocess.run(
        [sys.executable, "-c", SAVE_IN_LITTLE_ROOM, str(folder), str(room_bytes)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    return done.stdout


def test_a_full_disk_leaves_the_last_checkpoint_whole_and_nothing_beside_it(tmp_path: Path):
    checkpoints.save(tmp_path, make_checkpoint())

    said = _save_with_little_room(tmp_path, room_bytes=10_000)

    found = checkpoints.load(tmp_path)
    assert "whole" in said
    assert "make room" in said
    assert found is not None
    assert found.step == 5
    assert {p.name for p in tmp_path.iterdir()} == {checkpoints.FILE, checkpoints.STEP_FILE}


@pytest.mark.parametrize("damage", ["cut", "garbled", "empty", "pickle"])
def test_a_damaged_checkpoint_is_refused_by_name(tmp_path: Path, damage: str):
    checkpoints.save(tmp_path, make_checkpoint())
    path = tmp_path / checkpoints.FILE
    content = path.read_bytes()
    path.write_bytes(
        {
            "cut": content[: len(content) // 2],
            "garbled": b"x" * len(content),
            "empty": b"",
            "pickle": b"cos\nsystem\n(S'true'\ntR.",
        }[damage]
    )

    with pytest.raises(BadCheckpoint, match=r"checkpoint\.pt"):
        checkpoints.load(tmp_path)


def test_a_checkpoint_of_other_code_is_refused(tmp_path: Path):
    checkpoints.replace_file(tmp_path / checkpoints.FILE, checkpoints.to_bytes({"epoch": 3}))

    with pytest.raises(BadCheckpoint, match=r"epoch.*--fresh"):
        checkpoints.load(tmp_path)


def test_another_recipe_or_number_of_processes_is_refused_with_what_differs(tmp_path: Path):
    other = make_recipe(run={"batch": 8}).canonical()

    with pytest.raises(
        BadCheckpoint, match=r"run\.batch: was 4, is now 8; processes: were 1"
    ) as no:
        checkpoints.check_same_run(make_checkpoint(), other, processes=2, folder=tmp_path)

    assert "--fresh" in str(no.value)
    checkpoints.check_same_run(
        make_checkpoint(), make_recipe().canonical(), processes=1, folder=tmp_path
    )
