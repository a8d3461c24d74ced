"""Does the network tell people apart, and is it looked for where it may not be?"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from app.settings import Settings
from models.pull import pull
from tests.workers.training.forging.make_sets import astronaut
from workers.detection.identity import (
    SAME_PERSON,
    SIDE_PX,
    FaceEmbedder,
    aligned,
    likeness,
    one_person,
    unit,
)
from workers.detection.stage import Floats
from workers.kit import build_registry, face_networks
from workers.training.errors import BadDataset
from workers.training.forging.face_sets import (
    CurationOptions,
    Reason,
    check_two_people,
    curate,
)
from workers.training.forging.identity import NETWORK, load_embedder
from workers.training.placing import FacePlacer

ONE, SAME_AGAIN, ANOTHER = (
    "mead__W009_front_happy_level3_001__cc25ac.mp4",
    "mead__W009_front_sad_level3_001__d27501.mp4",
    "mead__W011_front_happy_level3_001__7d3890.mp4",
)
quiet = Console(quiet=True)


@pytest.fixture(scope="module")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEEPVERDICT_MODELS__DIR", str(folder))
        yield folder


@pytest.fixture(scope="module")
def embedder(models_dir: Path, shared_weights: Path) -> FaceEmbedder:
    pull(NETWORK, registry=build_registry(Settings()), mirror=shared_weights)
    found = load_embedder(Settings())
    assert found is not None
    return found


def directions(*angles_deg: float) -> Floats:
    vectors = np.zeros((len(angles_deg), 128), np.float32)
    radians = np.radians(angles_deg)
    vectors[:, 0], vectors[:, 1] = np.cos(radians), np.sin(radians)
    return vectors


def test_whoever_did_not_pull_the_network_goes_without(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPVERDICT_MODELS__DIR", str(tmp_path))

    assert load_embedder(Settings()) is None


def test_the_person_that_most_faces_show_is_found():
    """Two strangers do not pull the median face away."""
    person = one_person(directions(0, 2, 4, 170, 175))

    assert likeness(person, directions(2)[0]) > 0.99
    assert np.linalg.norm(person) == pytest.approx(1)


def test_a_vector_of_nothing_has_no_direction():
    assert (unit(np.zeros((2, 4), np.float32)) == 0).all()


def test_a_face_is_laid_upon_the_template_upright():
    placer = FacePlacer(face_networks(Settings()))
    picture = astronaut(0)
    turned = np.ascontiguousarray(np.rot90(picture))
    placed = placer.find(picture, None)
    assert placed is not None
    points = placed.points_px
    turned_points = np.stack([points[:, 1], picture.shape[1] - 1 - points[:, 0]], axis=-1)

    face, again = aligned(picture, points), aligned(turned, turned_points)

    assert face.shape == (SIDE_PX, SIDE_PX, 3)
    assert np.abs(face.astype(float) - again).mean() < 2


def test_the_network_tells_real_people_apart(embedder, shared_media, tmp_path):
    options = CurationOptions(most_looks=12, least_faces=4, held_out_gap_s=0)
    one, same, other = (
        curate([shared_media / "videos" / "real" / name], tmp_path / name, options, console=quiet)
        for name in (ONE, SAME_AGAIN, ANOTHER)
    )

    assert one.embedding is not None
    assert same.embedding is not None
    assert other.embedding is not None
    assert likeness(one.embedding, same.embedding) > SAME_PERSON
    assert likeness(one.embedding, other.embedding) < SAME_PERSON - 0.1
    vectors = embedder.embed(list(one.faces), list(one.landmarks))
    assert vectors.shape == (len(one), 128)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-4)
    assert (vectors @ one.embedding > SAME_PERSON).all()
    check_two_people(one, other, console=quiet)
    with pytest.raises(BadDataset, match="the same person"):
        check_two_people(one, same, console=quiet)


def test_a_stranger_among_the_sources_is_left_out(embedder, shared_media, tmp_path):
    del embedder  # was pulled
    videos = [shared_media / "videos" / "real" / name for name in (ONE, SAME_AGAIN, ANOTHER)]
    options = CurationOptions(most_looks=18, least_faces=4, held_out_gap_s=0)

    faces = curate(videos, tmp_path, options, console=quiet)

    assert {Path(face.source).name for face in faces.rows} == {ONE, SAME_AGAIN}
    assert f'"{Reason.OTHER_PERSON}": 6' in (tmp_path / "report.json").read_text()
