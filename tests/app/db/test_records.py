"""Is what is read from the database what was stored in it, exactly?"""

import json
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.db import jobs as job_rows
from app.db import leased, records
from app.db import verdicts as verdict_rows
from app.db.session import Database
from app.db.tables import EvidenceRow, JobRow, PersonRow
from app.domain.evidence import (
    AbstainReason,
    Abstention,
    DetectorName,
    Finding,
    Observation,
    Provenance,
)
from app.domain.job import Priority
from app.domain.media import Box, VideoFacts
from app.domain.policy import ALONE, PointName
from app.domain.report import Judged
from app.domain.verdict import (
    Inconclusive,
    Label,
    Part,
    Said,
    Verdict,
    decide,
    statement_in,
)
from app.domain.words import Language, Sentence
from app.domain.worker import WorkerCondition
from tests.make import (
    make_abstention,
    make_analysis,
    make_artifact,
    make_blob,
    make_condition,
    make_error,
    make_finding,
    make_person,
    make_provenance,
    make_verdict,
    make_video,
)

fixed = settings(derandomize=True, database=None, deadline=None, max_examples=100)

text = st.text(max_size=40)
number = st.floats(allow_nan=False, allow_infinity=False)
share = st.floats(min_value=0, max_value=1)
count = st.integers(min_value=0, max_value=2**31 - 1)
moment_s = st.floats(min_value=0, max_value=1e6)

observations = st.builds(
    Observation,
    pts_s=moment_s,
    frame_index=count,
    fake_probability=st.none() | share,
    fake_area=st.none() | share,
)
findings = st.builds(
    Finding,
    detector=st.sampled_from(DetectorName),
    fake_probability=share,
    frames=count,
    is_calibrated=st.booleans(),
    model=st.none() | text,
    measurements=st.dictionaries(text, number, max_size=4),
    observations=st.lists(observations, max_size=5).map(tuple),
    caveat=st.none() | text,
)
abstentions = st.builds(
    Abstention,
    detector=st.sampled_from(DetectorName),
    reason=st.sampled_from(AbstainReason),
    detail=text,
    needs=text,
)
videos = st.builds(
    VideoFacts,
    sha256=text,
    size_bytes=st.integers(min_value=0, max_value=2**40),
    container=text,
    codec=text,
    width=count,
    height=count,
    rotation_deg=st.sampled_from([0, 90, 180, 270]),
    duration_s=moment_s,
    fps=moment_s,
    frames_expected=st.none() | count,
    frames_decoded=count,
    frames_kept=count,
    warnings=st.lists(text, max_size=3).map(tuple),
)
provenances = st.builds(
    Provenance,
    code=text,
    models=st.dictionaries(text, text, max_size=3),
    decoder=text,
    device=text,
    seed=st.integers(),
    frame_indices=text,
    sandbox=text,
    versions=st.dictionaries(text, text, max_size=3),
)
conditions = st.builds(
    WorkerCondition,
    models=st.dictionaries(text, text, max_size=3),
    sandbox=text,
    is_network_removed=st.booleans(),
    device=text,
    versions=st.dictionaries(text, text, max_size=3),
    not_taken_up=st.lists(text, max_size=3).map(tuple),
    why_not=text,
)


def through_json(body):
    return json.loads(json.dumps(body, allow_nan=False))


@fixed
@given(findings | abstentions)
def test_evidence_comes_back_as_it_was(evidence):
    body = through_json(records.evidence_to_json(evidence))

    assert records.evidence_from_json(body) == evidence


@fixed
@given(videos)
def test_the_facts_of_a_video_come_back_as_they_were(video):
    assert records.video_from_json(through_json(records.video_to_json(video))) == video


@fixed
@given(provenances)
def test_provenance_comes_back_as_it_was(provenance):
    body = through_json(records.provenance_to_json(provenance))

    assert records.provenance_from_json(body) == provenance


@fixed
@given(conditions)
def test_a_workers_condition_comes_back_as_it_was(condition):
    body = through_json(records.condition_to_json(condition))

    assert records.condition_from_json(body) == condition


def test_errors_and_boxes_come_back_as_they_were():
    box = Box(x_px=-3, y_px=0, width_px=10, height_px=20)

    assert (
        records.error_from_json(through_json(records.error_to_json(make_error()))) == make_error()
    )
    assert records.box_from_json(through_json(records.box_to_json(box))) == box


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_number_that_is_none_is_never_stored(bad):
    seen = Observation(pts_s=1.0, frame_index=30, fake_probability=bad)

    with pytest.raises(ValueError, match="finite"):
        records.evidence_to_json(make_finding(observations=(seen,)))
    with pytest.raises(ValueError, match="finite"):
        records.video_to_json(replace(make_video(), fps=bad))
    with pytest.raises(ValueError, match="finite"):
        records.timings_to_json({"decode_s": bad})


def stored(db: Database, job_id: str, analysis, verdict) -> Judged | None:
    """Store an analysis and read it back in another transaction."""
    with db.writing() as session:
        row = job_rows.insert(
            session,
            job_id=job_id,
            tenant="desk",
            blob=make_blob(),
            ref_id=None,
            file_name=None,
            priority=Priority.BATCH,
        )
        verdict_rows.insert(session, row, analysis, verdict)
    with db.reading() as session:
        row = job_rows.find(session, tenant="desk", job_id=job_id)
        return verdict_rows.load(session, row)


def test_a_whole_analysis_comes_back_as_it_was_in_its_order(db):
    persons = tuple(
        make_person(
            make_abstention(DetectorName.PIXEL_SEGMENTER, AbstainReason.MODEL_MISSING),
            make_finding(
                fake_probability=1 / 3,
                measurements={"peak_hz": 0.1 + 0.2, "a": 1e-300},
                observations=(Observation(pts_s=0.1, frame_index=3, fake_probability=0.7),),
            ),
            id=f"p{n}",
        )
        for n in (2, 10, 1)
    )
    analysis = make_analysis(
        *persons,
        abstentions=(make_abstention(),),
        artifacts=(make_artifact(id="z"), replace(make_artifact(id="a"), box_px=None)),
    )
    verdict = make_verdict(by_person={"p2": None, "p10": 0.1, "p1": 1 / 3})

    assert stored(db, "1", analysis, verdict) == Judged.of(analysis, verdict)


@given(st.data())
@settings(fixed, max_examples=20)
def test_a_sentence_survives_json(data):
    values = st.text(max_size=20) | st.integers(-1000, 1000) | st.floats(0, 1)
    said = Said(
        part=data.draw(st.sampled_from(Part)),
        code=data.draw(st.none() | st.sampled_from(Inconclusive)),
        sentence=Sentence(
            key=data.draw(st.text(max_size=20)),
            values=data.draw(st.dictionaries(st.text(max_size=10), values, max_size=3)),
        ),
    )

    assert records.said_from_json(through_json(records.said_to_json(said))) == said


def test_a_verdict_comes_back_with_its_intervals_its_point_and_its_sentences(db):
    """As the rule makes it, of somebody whose interval is known and somebody whose is not."""
    analysis = make_analysis(
        make_person(make_finding(fake_probability=0.9)),
        make_person(make_abstention(DetectorName.FRAME_CLASSIFIER), id="p2"),
    )
    size = len(ALONE.fusion.parameters)
    identity = tuple(tuple(float(i == j) for j in range(size)) for i in range(size))
    policy = replace(ALONE, fusion=replace(ALONE.fusion, covariance=identity))
    verdict = decide(analysis.persons, analysis.video, (), policy, PointName.FPR_5)
    judged = stored(db, "1", analysis, verdict)

    assert judged == Judged.of(analysis, verdict)
    assert judged.verdict.interval is not None
    assert set(judged.verdict.intervals_by_person) == {"p1"}
    assert judged.verdict.operating_point is PointName.FPR_5
    assert statement_in(judged.verdict, Language.GERMAN).startswith("Deutliche Anzeichen")


def test_text_in_any_script_comes_back_as_it_was(db):
    strange = "naïve ☃ 𝄞 \x01 \\u0000 'quoted' \"too\" \u202e"
    analysis = make_analysis(make_person(make_abstention(detail=strange)))
    verdict = replace(make_verdict(), statement=strange, reasons=(strange,))

    assert stored(db, "1", analysis, verdict) == Judged.of(analysis, verdict)


@settings(fixed, max_examples=15)
@given(
    evidence=st.lists(
        findings | abstentions, min_size=1, max_size=4, unique_by=lambda e: e.detector
    ),
    probability=st.none() | share,
    label=st.sampled_from(Label),
)
def test_any_evidence_survives_a_database(both, evidence, probability, label):
    analysis = make_analysis(make_person(*evidence))
    verdict = make_verdict(label, fake_probability=probability)
    for db in both:
        with db.writing() as session:
            if (row := leased.lock(session, JobRow, "1")) is not None:
                verdict_rows.remove(session, "1")
                job_rows.forget(session, row)
                session.delete(row)

        assert stored(db, "1", analysis, verdict) == Judged.of(analysis, verdict)


@pytest.fixture(scope="module")
def both(_migrated_sqlite, tmp_path_factory, postgres_server):
    """A database of each kind for all of Hypothesis' examples."""
    from app.db import migrate

    urls = [
        f"sqlite:///{tmp_path_factory.mktemp('records') / 'records.db'}",
        postgres_server.create_database("records"),
    ]
    databases = []
    for url in urls:
        migrate.upgrade(url)
        databases.append(Database(url))
    yield databases
    for database in databases:
        database.close()


def test_a_verdict_on_other_persons_is_a_bug_and_is_not_stored(db):
    with pytest.raises(ValueError, match="p9"):
        stored(db, "1", make_analysis(), make_verdict(by_person={"p9": 0.5}))
    with db.reading() as session:
        assert session.get(PersonRow, ("1", "p1")) is None


def test_one_detector_cannot_speak_twice_of_one_person(db):
    analysis = make_analysis(make_person(make_finding(), make_finding(fake_probability=0.1)))

    with pytest.raises(Exception, match=r"(?i)unique|conflicts"):
        stored(db, "1", analysis, make_verdict())
    with db.reading() as session:
        assert session.get(EvidenceRow, ("1", "p1", "frame_classifier")) is None


def test_a_verdict_without_a_probability_reads_back_without_one(db):
    verdict: Verdict = make_verdict(Label.INCONCLUSIVE, fake_probability=None)
    judged = stored(db, "1", make_analysis(), verdict)

    assert judged is not None
    assert judged.verdict.fake_probability is None
    assert judged.verdict.by_person == {"p1": None}


def test_what_was_stored_before_versions_were_is_read_without_them():
    provenance = records.provenance_to_json(make_provenance())
    condition = records.condition_to_json(make_condition())
    for later in ("versions", "not_taken_up", "why_not"):
        provenance.pop(later, None)
        condition.pop(later, None)

    assert records.provenance_from_json(provenance) == make_provenance()
    assert records.condition_from_json(condition) == make_condition()


def test_a_workers_condition_is_read_from_its_row(db):
    condition = make_condition(is_missing=True)

    assert condition.missing_models == ("frame_classifier",)
    body = through_json(records.condition_to_json(condition))
    assert records.condition_from_json(body).missing_models == ("frame_classifier",)
