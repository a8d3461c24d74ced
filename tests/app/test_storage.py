"""Is a video in the store whole or absent, whatever happens while it is written?"""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.storage import LocalBlobStore

UNKNOWN = "01KDEEPVERD1CT000000000001"


@pytest.fixture
def store(tmp_path: Path) -> LocalBlobStore:
    return LocalBlobStore(tmp_path / "blobs")


def files(tmp_path: Path) -> list[Path]:
    return [p for p in (tmp_path / "blobs").rglob("*") if p.is_file()]


def test_what_was_written_is_read_back_under_its_key(store: LocalBlobStore) -> None:
    writer = store.begin()
    writer.write(b"one")
    writer.write(b"two")
    blob = writer.commit()

    assert blob.size_bytes == 6
    assert blob.sha256 == hashlib.sha256(b"onetwo").hexdigest()
    with store.local_file(blob.key) as path:
        assert path.read_bytes() == b"onetwo"


def test_nobody_sees_a_blob_before_it_is_committed(store: LocalBlobStore, tmp_path: Path) -> None:
    writer = store.begin()
    writer.write(b"half")

    (unfinished,) = files(tmp_path)
    with pytest.raises(FileNotFoundError), store.local_file(unfinished.name):
        pass
    writer.abort()


def test_an_aborted_upload_leaves_nothing_and_a_committed_one_stays(
    store: LocalBlobStore, tmp_path: Path
) -> None:
    given_up, kept = store.begin(), store.begin()
    given_up.write(b"a")
    kept.write(b"b")
    given_up.abort()
    given_up.abort()
    key = kept.commit().key
    kept.abort()

    assert [key] == [f.name for f in files(tmp_path)]


def test_the_bytes_the_name_and_the_folder_are_synced_in_this_order(tmp_path: Path) -> None:
    script = (
        "import os, pathlib, sys; from app.storage import LocalBlobStore\n"
        "writer = LocalBlobStore(pathlib.Path(sys.argv[1])).begin()\n"
        "writer.write(b'a video')\n"
        "sys.addaudithook(lambda event, _: event in ('os.rename', 'open') and print(event))\n"
        "sys.setprofile(lambda f, e, c: e == 'c_call' and c is os.fsync and print('fsync'))\n"
        "writer.commit()\n"
        "sys.setprofile(None)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "blobs")],
        check=True,
        capture_output=True,
        text=True,
    )

    assert told.stdout.split() == ["fsync", "os.rename", "open", "fsync"]


def test_deleting_is_harmless_where_there_is_nothing(store: LocalBlobStore) -> None:
    writer = store.begin()
    writer.write(b"x")
    key = writer.commit().key

    store.delete(key)
    store.delete(key)
    store.delete(UNKNOWN)

    with pytest.raises(FileNotFoundError), store.local_file(key):
        pass


@pytest.mark.parametrize(
    "key", ["", ".", "..", "incoming", "../secret", "/etc/passwd", "a/b", "\0"]
)
def test_a_key_that_is_not_ours_reaches_no_file(
    store: LocalBlobStore, tmp_path: Path, key: str
) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(b"x")

    store.delete(key)

    with pytest.raises(FileNotFoundError), store.local_file(key):
        pass
    assert secret.exists()


@pytest.mark.parametrize("what", ["symlink", "fifo", "folder"])
def test_something_else_in_the_place_of_a_blob_is_not_lent(
    store: LocalBlobStore, tmp_path: Path, what: str
) -> None:
    place = tmp_path / "blobs" / UNKNOWN
    match what:
        case "symlink":
            (tmp_path / "secret").write_bytes(b"x")
            place.symlink_to(tmp_path / "secret")
        case "fifo":
            os.mkfifo(place)
        case "folder":
            place.mkdir()

    with pytest.raises(FileNotFoundError), store.local_file(UNKNOWN):
        pass


def test_files_are_for_the_service_alone(store: LocalBlobStore, tmp_path: Path) -> None:
    writer = store.begin()
    writer.commit()

    assert {0o600} == {f.stat().st_mode & 0o777 for f in files(tmp_path)}


def test_a_sweep_takes_what_a_dead_process_left_and_nothing_else(
    store: LocalBlobStore, tmp_path: Path
) -> None:
    script = (
        "import os, sys, pathlib; from app.storage import LocalBlobStore\n"
        "writer = LocalBlobStore(pathlib.Path(sys.argv[1])).begin()\n"
        "writer.write(b'half a video'); os.kill(os.getpid(), 9)"
    )
    died = subprocess.run([sys.executable, "-c", script, str(tmp_path / "blobs")], check=False)
    assert died.returncode == -9
    living, kept, fresh = store.begin(), store.begin(), tmp_path / "blobs" / "incoming" / UNKNOWN
    living.write(b"still coming")
    key = kept.commit().key
    for path in files(tmp_path):
        os.utime(path, (1, 1))
    fresh.write_bytes(b"its lock may not be taken yet")

    assert store.sweep() == 1
    assert store.sweep() == 0
    assert store.free_bytes() > 0
    assert living.commit().key in {f.name for f in files(tmp_path)}
    assert {key, fresh.name} < {f.name for f in files(tmp_path)}
