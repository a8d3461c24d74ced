"""Is a worker made of the networks that came along, and is there none without them?"""

from pathlib import Path

import pytest

from app.errors import ModelUnavailable
from app.settings import FaceSettings, Settings
from models.pull import pull
from workers import kit


def settings(tmp_path: Path, **faces: str) -> Settings:
    return Settings(_env_file=None, data_dir=tmp_path, faces=FaceSettings.model_validate(faces))


def test_what_came_along_is_enough(tmp_path: Path) -> None:
    condition = kit.build_analyzer(settings(tmp_path)).condition()

    assert condition.missing_models == ()
    assert all(said.startswith("sha256:") for said in condition.models.values())


def test_without_a_network_that_comes_along_there_is_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kit, "files", lambda package: tmp_path / package)

    with pytest.raises(ModelUnavailable, match=r"put .*\w+\.onnx back"):
        kit.build_analyzer(settings(tmp_path))


@pytest.mark.parametrize(
    ("detector", "wanted"), [("yunet", "yunet"), ("insightface", "insightface_scrfd")]
)
def test_an_optional_network_that_was_chosen_and_not_pulled_is_said_to_be_missing(
    tmp_path: Path, detector: str, wanted: str
) -> None:
    condition = kit.build_analyzer(settings(tmp_path, detector=detector)).condition()

    assert condition.missing_models == (wanted,)
    assert f"deepverdict models pull {wanted}" in condition.models[wanted]


def test_the_teachers_are_asked_for_by_name(tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="deepverdict models pull yunet"):
        kit.teacher_networks(settings(tmp_path))


@pytest.mark.parametrize(
    ("identity", "wanted", "links"),
    [
        ("deepverdict", "face_embedding", True),
        ("none", None, False),
        ("mobilefacenet", None, False),
    ],
)
def test_faces_are_linked_by_the_network_that_was_chosen_where_it_is_there(
    tmp_path: Path, identity: str, wanted: str | None, links: bool
) -> None:
    chosen = settings(tmp_path, identity=identity)

    names = kit.wanted_models(chosen)

    assert (kit.person_linker(chosen) is not None) == links
    assert wanted is None or wanted in names
    assert ("mobilefacenet" in names) == (identity == "mobilefacenet")


def test_a_network_to_link_by_that_was_not_pulled_is_said_to_be_missing(tmp_path: Path) -> None:
    condition = kit.build_analyzer(settings(tmp_path, identity="mobilefacenet")).condition()

    assert condition.missing_models == ("mobilefacenet",)
    assert "deepverdict models pull mobilefacenet" in condition.models["mobilefacenet"]


def test_the_third_partys_network_links_where_it_was_pulled(
    tmp_path: Path, shared_weights: Path
) -> None:
    chosen = settings(tmp_path, identity="mobilefacenet")
    pull("mobilefacenet", registry=kit.build_registry(chosen), mirror=shared_weights)

    linker = kit.person_linker(chosen)

    assert linker is not None
    assert linker.alike == kit.ALIKE["mobilefacenet"]
