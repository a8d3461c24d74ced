"""Which version is current, who said so, and what may not become so?"""

from concurrent.futures import ThreadPoolExecutor

import pytest

from app.db.session import Database
from app.domain.model_version import ModelVersion
from app.errors import PromotionRefused
from app.services import model_versions, readiness, workers
from app.settings import UploadLimits
from tests.fakes import MemoryStore
from tests.make import make_condition
from tests.make_packages import CLASSIFIER, SEGMENTER, make_decision, make_version

ALONG = None  # what comes with the program


def promote(db: Database, *models: ModelVersion, actor: str = "anna") -> None:
    model_versions.promote(db, models, make_decision(), actor=actor)


def current(db: Database) -> list[str]:
    return [m.versioned_name for m in model_versions.current(db)]


def roll_back(db: Database) -> str | None:
    return model_versions.roll_back(db, name=CLASSIFIER, actor="ben").version


def test_nothing_is_current_but_what_came_along_until_somebody_promotes(db: Database):
    assert model_versions.current(db) == ()


def test_a_promoted_version_is_current_as_it_was_given(db: Database):
    model = make_version()

    assert model_versions.promote(db, [model], make_decision(), actor="anna") == (model,)
    assert [m.versioned_name for m in model_versions.current(db)] == ["frame_classifier@1.1"]
    (found,) = model_versions.current(db)
    assert (found.sha256, found.operating_point) == (model.sha256, model.operating_point)


def test_two_networks_of_one_candidate_become_current_at_once(db: Database):
    promote(db, make_version(), make_version(SEGMENTER, "2.0"))

    assert current(db) == ["fake_segmenter@2.0", "frame_classifier@1.1"]


def test_rolling_back_goes_step_by_step_to_what_came_along(db: Database):
    promote(db, make_version(version="1.1"))
    promote(db, make_version(version="1.2", slope=17))

    assert roll_back(db) == "1.1"
    assert current(db) == ["frame_classifier@1.1"]
    assert roll_back(db) is ALONG
    assert current(db) == []
    with pytest.raises(PromotionRefused, match="there is no promotion of frame_classifier"):
        roll_back(db)


def test_what_is_promoted_after_a_rollback_is_rolled_back_to_where_it_was(db: Database):
    promote(db, make_version(version="1.1"))
    promote(db, make_version(version="1.2", slope=17))
    roll_back(db)
    promote(db, make_version(version="1.3", slope=18))

    assert [roll_back(db), roll_back(db)] == ["1.1", ALONG]


def test_rolling_one_network_back_leaves_the_other(db: Database):
    promote(db, make_version(), make_version(SEGMENTER, "2.0"))

    roll_back(db)

    assert current(db) == ["fake_segmenter@2.0"]


def test_a_known_version_is_made_current_again_and_what_came_along_too(db: Database):
    promote(db, make_version(version="1.1"))
    promote(db, make_version(version="1.2", slope=17))

    assert model_versions.make_current(db, name=CLASSIFIER, version="1.1", actor="ben")
    assert not model_versions.make_current(db, name=CLASSIFIER, version="1.1", actor="ben")
    assert current(db) == ["frame_classifier@1.1"]
    assert model_versions.make_current(db, name=CLASSIFIER, version=ALONG, actor="ben")
    assert current(db) == []
    assert [roll_back(db), roll_back(db)] == ["1.1", "1.2"]
    with pytest.raises(PromotionRefused, match=r"9\.9 was never promoted; known are .*@1\.1"):
        model_versions.make_current(db, name=CLASSIFIER, version="9.9", actor="ben")


def test_promoting_what_is_current_changes_nothing(db: Database):
    promote(db, make_version())

    assert model_versions.promote(db, [make_version()], make_decision(), actor="ben") == ()
    assert len(model_versions.known(db).history) == 1


def test_a_rejected_candidate_is_refused_unless_somebody_takes_it_upon_themselves(db: Database):
    rejected = make_decision(is_promotion=False, reason="false positives: worse than allowed")

    with pytest.raises(PromotionRefused, match=r"worse than allowed.*--despite-rejection"):
        model_versions.promote(db, [make_version()], rejected, actor="anna")
    assert current(db) == []

    model_versions.promote(db, [make_version()], rejected, actor="anna", despite_rejection=True)
    known = model_versions.known(db)
    assert current(db) == ["frame_classifier@1.1"]
    assert [step.note for step in known.history] == ["promoted despite its rejection"]
    assert not known.versions[0].decision.is_promotion


def test_a_version_that_is_known_with_other_bytes_is_refused(db: Database):
    promote(db, make_version(version="1.1"))

    with pytest.raises(PromotionRefused, match=r"frame_classifier@1\.1 is known with other bytes"):
        promote(db, make_version(version="1.1", slope=17))


def test_a_classifier_without_a_calibration_is_refused_however_it_was_measured(db: Database):
    model = make_version(is_calibrated=False)

    with pytest.raises(PromotionRefused, match="has no calibration"):
        model_versions.promote(db, [model], make_decision(), actor="anna", despite_rejection=True)


def test_of_two_networks_both_become_current_or_none(db: Database):
    promote(db, make_version(version="1.1"))

    with pytest.raises(PromotionRefused):
        promote(db, make_version(SEGMENTER, "2.0"), make_version(version="1.1", slope=17))

    assert current(db) == ["frame_classifier@1.1"]


def test_the_history_says_who_made_what_current_and_never_forgets(db: Database):
    promote(db, make_version(version="1.1"), actor="anna\0")
    promote(db, make_version(version="1.2", slope=17), actor="a" * 500)
    roll_back(db)

    history = model_versions.known(db).history
    assert [(s.version, s.actor, s.note) for s in history] == [
        ("1.1", "anna?", "promoted"),
        ("1.2", "a" * 128, "promoted"),
        ("1.1", "ben", "rolled back from 1.2"),
    ]
    assert [s.at for s in history] == sorted(s.at for s in history)


def test_of_many_who_promote_at_once_each_can_be_rolled_back(db: Database):
    models = [make_version(version=f"1.{n}", slope=16 + n) for n in range(1, 6)]

    with ThreadPoolExecutor(5) as pool:
        list(pool.map(lambda model: promote(db, model), models))

    before = {m.version for m in models} - {model_versions.current(db)[0].version}
    assert {roll_back(db) for _ in range(4)} == before
    assert roll_back(db) is ALONG


def test_what_workers_say_they_judge_by_is_counted_beside_what_they_should(db: Database):
    model = make_version()
    along = make_condition(versions={CLASSIFIER: "1.0"})
    new = make_condition(sha256=model.sha256, versions={CLASSIFIER: "1.1"})
    workers.announce(db, worker="w1", code="0.1.0", condition=along)
    assert [m.is_wanted for m in model_versions.in_use(db)] == [True]

    promote(db, model)
    found = {m.version: (m.workers, m.is_wanted) for m in model_versions.in_use(db)}
    assert found == {"1.0": (1, False), "1.1": (0, True)}

    workers.announce(db, worker="w2", code="0.1.0", condition=new)
    found = {m.version: (m.workers, m.is_wanted) for m in model_versions.in_use(db)}
    assert found == {"1.0": (1, False), "1.1": (1, True)}


def test_a_worker_that_could_not_take_a_version_up_makes_the_service_degraded(db: Database):
    late = make_condition(not_taken_up=("frame_classifier@1.1",), why_not="mismatch: /a/path")
    workers.announce(db, worker="w1", code="0.1.0", condition=late)

    checks = {c.name: c for c in readiness.check(db, MemoryStore(), limits=UploadLimits()).checks}

    assert not checks["models"].is_ok
    assert "frame_classifier@1.1" in checks["models"].words
    assert "deepverdict models rollback frame_classifier" in checks["models"].words
    assert "/a/path" not in checks["models"].words  # the page is open to everybody
