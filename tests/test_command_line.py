"""Does the command line do what its help says, in a process of its own?"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from app.db.session import Database
from app.domain.access import Scope
from app.domain.evidence import DetectorName
from app.services import keys
from app.views import AnalysisView
from tests.media import make_video

OURS = {
    "face_detector",
    "face_landmarks",
    "frame_classifier",
    "fake_segmenter",
    "face_embedding",
    "landmark_flow",
}
COMMANDS = (
    "scan",
    "up",
    "serve",
    "worker",
    "trainer",
    "migrate",
    "train",
    "evaluate",
    "keys",
    "models",
    "data",
    "redecide",
)


def run(home: Path, *arguments: str | Path, **settings: str) -> subprocess.CompletedProcess[str]:
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(home),
        "COLUMNS": "100",
        "DEEPVERDICT_DATA_DIR": str(home / "data"),
        **{f"DEEPVERDICT_{name}": value for name, value in settings.items()},
    }
    return subprocess.run(
        [sys.executable, "-m", "app.cli", *map(str, arguments)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_video(tmp_path_factory.mktemp("clips") / "nobody.mp4", frames=12)


def test_help_names_every_command_and_teaches_by_example(tmp_path: Path):
    top = run(tmp_path, "--help")

    assert top.returncode == 0
    for command in COMMANDS:
        assert command in top.stdout
        shown = run(tmp_path, command, "--help")
        assert shown.returncode == 0
        assert f"deepverdict {command}" in shown.stdout


def test_scan_of_a_clone_and_nothing_else_looks_for_faces(tmp_path: Path, clip: Path):
    done = run(tmp_path, "scan", clip, "--json")

    view = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert view["verdict"]["reasons"][0].startswith("no_face: ")
    assert set(view["provenance"]["models"]) == OURS
    assert {a["abstention"]["reason"] for a in view["abstentions"]} == {"no_face"}


def test_scan_with_a_network_that_was_not_pulled_says_so_and_never_guesses(
    tmp_path: Path, clip: Path
):
    done = run(tmp_path, "scan", clip, "--json", FACES__DETECTOR="yunet")

    view = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    assert view["state"] == "succeeded"
    assert view["verdict"]["label"] == "inconclusive"
    assert view["verdict"]["fake_probability"] is None
    assert view["verdict"]["reasons"][0].startswith("model_missing: ")
    assert view["video"]["frames_decoded"] == 12
    assert {a["abstention"]["reason"] for a in view["abstentions"]} == {"model_missing"}
    assert {a["abstention"]["needs"] for a in view["abstentions"]} == {
        "deepverdict models pull yunet"
    }


def test_scan_prints_one_line_of_json_a_file_and_nothing_else(tmp_path: Path, clip: Path):
    done = run(tmp_path, "scan", clip, clip, "--json")

    lines = done.stdout.splitlines()
    assert [json.loads(line)["file"] for line in lines] == [str(clip), str(clip)]


def test_scan_of_a_file_that_is_no_video_exits_2_with_the_reason(tmp_path: Path, clip: Path):
    text = tmp_path / "letter.mp4"
    text.write_text("Dear editor, " * 100)

    as_json = run(tmp_path, "scan", text, clip, "--json")
    for_people = run(tmp_path, "scan", text)

    rejected, judged = map(json.loads, as_json.stdout.splitlines())
    assert as_json.returncode == 2
    assert rejected["state"] == "rejected"
    assert rejected["error"]["code"] == "unsupported-container"
    assert "verdict" not in rejected
    assert judged["state"] == "succeeded"
    assert for_people.returncode == 2
    assert "unsupported-container" in for_people.stdout


def test_scan_of_a_file_that_is_not_there_is_a_usage_error(tmp_path: Path):
    done = run(tmp_path, "scan", tmp_path / "gone.mp4")

    assert done.returncode == 2
    assert "gone.mp4" in done.stderr
    assert not done.stdout


@pytest.mark.shared
def test_scan_of_a_real_face_gives_evidence_and_masks_where_the_face_is(
    tmp_path: Path, shared_media: Path
):
    film = shared_media / "videos/fake/face2face__469_481__c23__523194.mp4"
    out = tmp_path / "pictures"

    done = run(tmp_path, "scan", film, "--json", "--out", out)

    view = json.loads(done.stdout)
    assert done.returncode == 0, done.stderr
    (person,) = view["persons"]
    said = {e["detector"]: e for e in person["evidence"]}
    assert set(said) == {detector.value for detector in DetectorName}
    assert 0 <= view["verdict"]["fake_probability"] <= 1
    assert said["frame_classifier"]["finding"]["frames"] >= 16
    assert said["blink_rate"]["abstention"]["reason"] == "track_too_short"
    assert said["frame_classifier"]["finding"]["is_calibrated"]
    assert set(view["provenance"]["models"]) == OURS
    size = (view["video"]["height"], view["video"]["width"])
    masks = [cv2.imread(path, cv2.IMREAD_GRAYSCALE) for path in view["masks"]]
    assert masks
    assert {mask.shape for mask in masks} == {size}
    assert (out / film.stem / "overview.png").is_file()
    assert (out / film.stem / "crop-p1.png").is_file()


def test_a_scan_has_the_shape_of_a_job(tmp_path: Path, clip: Path):
    view = json.loads(run(tmp_path, "scan", clip, "--json").stdout)

    assert set(view) - {"file", "masks"} <= set(AnalysisView.model_fields)


def test_a_key_is_shown_once_listed_without_its_secret_and_revoked(tmp_path: Path):
    assert run(tmp_path, "migrate").returncode == 0
    secret = run(tmp_path, "keys", "create", "--tenant", "desk", "--quiet").stdout.strip()
    listed = run(tmp_path, "keys", "list").stdout

    assert secret.startswith("dv_")
    assert "desk" in listed
    assert secret not in listed
    key_id = next(word for word in listed.split() if len(word) == 26 and word.isalnum())
    assert run(tmp_path, "keys", "revoke", key_id).returncode == 0
    assert run(tmp_path, "keys", "revoke", "01ARZ3NDEKTSV4RRFFQ69G5FAV").returncode != 0


def test_a_key_is_no_administrators_unless_that_is_asked_for(tmp_path: Path):
    assert run(tmp_path, "migrate").returncode == 0
    for tenant, asked in (("desk", ()), ("lab", ("--scope", "admin"))):
        done = run(tmp_path, "keys", "create", "--tenant", tenant, *asked)
        assert done.returncode == 0
    db = Database(f"sqlite:///{tmp_path / 'data' / 'deepverdict.db'}")
    scopes = {key.tenant: key.scopes for key in keys.list_keys(db)}
    db.close()

    assert scopes == {
        "desk": {Scope.JOBS_READ, Scope.JOBS_WRITE},
        "lab": {Scope.ADMIN},
    }


def test_a_key_cannot_be_made_before_the_tables_are_and_it_says_what_to_do(tmp_path: Path):
    done = run(tmp_path, "keys", "create", "--tenant", "desk")

    assert done.returncode == 1
    assert "deepverdict migrate" in done.stderr
    assert "Traceback" not in done.stderr


def test_models_are_listed_with_what_they_are_good_for_whether_here_or_not(tmp_path: Path):
    done = run(tmp_path, "models", "list")

    by_name = {line.split()[0]: line for line in done.stdout.splitlines() if len(line.split()) > 2}
    assert max(map(done.stdout.index, OURS)) < done.stdout.index("classnseg")
    assert "missing" in by_name["insightface_scrfd"]
    assert "Apache-2.0" in by_name["face_mesh_468"]
    for name in OURS:
        assert "verified" in by_name[name]
    assert re.search(r">= 0\.\d+: \d+", by_name["frame_classifier"])


def test_nothing_needs_to_be_pulled_and_what_may_be_is_listed(tmp_path: Path):
    done = run(tmp_path, "models", "pull")

    assert done.returncode == 0
    assert "Nothing needs to be fetched" in done.stdout
    assert "insightface_scrfd" in done.stdout
    assert not any(name in done.stdout for name in OURS)
    assert not (tmp_path / "data").exists()


@pytest.mark.shared
def test_models_are_pulled_from_a_mirror_and_verified(tmp_path: Path, shared_weights: Path):
    mirror = {"MODELS__MIRROR": str(shared_weights)}

    pulled = run(tmp_path, "models", "pull", "yunet", **mirror)
    verified = run(tmp_path, "models", "verify")
    weight = next((tmp_path / "data/models").rglob("*.onnx"))
    weight.write_bytes(weight.read_bytes()[:-1] + b"!")
    spoiled = run(tmp_path, "models", "verify")

    assert "MIT" in pulled.stdout
    assert verified.returncode == 0
    assert spoiled.returncode == 1
    assert "mismatch" in spoiled.stdout


def test_a_setting_that_is_wrong_is_named_in_words(tmp_path: Path):
    done = run(tmp_path, "migrate", API__PORT="99999")

    assert done.returncode == 1
    assert "DEEPVERDICT_API__PORT" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_refuses_a_database_that_is_not_its_own(tmp_path: Path):
    done = run(tmp_path, "up", DATABASE_URL="postgresql+psycopg://nobody@127.0.0.1:1/none")

    assert done.returncode == 1
    assert "DEEPVERDICT_DATABASE_URL" in done.stderr


def test_scan_writes_a_report_of_each_file_and_says_where(tmp_path: Path, clip: Path):
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    wanted = ("--report", tmp_path / "out" / "r.html", "--language", "de")

    done = run(tmp_path, "scan", clip, text, *wanted)

    assert done.returncode == 2  # for the file that is no video
    assert f"Report: {tmp_path}/out/r-1.html" in done.stdout
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["r-1.html"]
    assert "wurde kein Gesicht gefunden" in (tmp_path / "out" / "r-1.html").read_text()


def test_scan_refuses_a_report_of_a_form_that_there_is_not_before_it_looks(
    tmp_path: Path, clip: Path
):
    done = run(tmp_path, "scan", clip, "--report", tmp_path / "r.docx")

    assert done.returncode == 2
    assert ".html" in done.stderr
    assert not done.stdout
