"""Does a caller see his own jobs, all of them, and nobody else's?"""

from dataclasses import replace

import pytest
from sqlalchemy import inspect, text

from app.db.session import Database
from app.domain.evidence import ArtifactKind, DetectorName, Observation
from app.domain.job import Job, JobState, Priority
from app.domain.report import JobReport, Judged
from app.domain.verdict import Label
from app.errors import BadRequest, NotFound
from app.services import jobs, leases, workers
from app.settings import WorkerSettings
from tests.fakes import MemoryStore, RecordingBell
from tests.make import (
    make_analysis,
    make_artifact,
    make_blob,
    make_condition,
    make_error,
    make_finding,
    make_person,
    make_verdict,
)

LIMITS = WorkerSettings()
NEVER_MADE = "01KDEEPVERD1CTNEVERMADE001"[:24] + "01"
MALFORMED = [
    "",
    "x",
    "../../etc/passwd",
    "01\0",
    NEVER_MADE.lower(),
    NEVER_MADE + "0",
    "\u0660" * 26,  # digits, and not ours
    "\ud800",
]


def submit(db: Database, tenant: str = "desk", **fields) -> Job:
    wanted = {"ref_id": None, "file_name": None, "priority": Priority.BATCH, "blob": make_blob()}
    return jobs.submit(db, RecordingBell(), tenant=tenant, **{**wanted, **fields})


def judge(db: Database, analysis=None, verdict=None) -> None:
    """Have a worker take the next job and conclude it."""
    taken = leases.claim(db, worker="w1", limits=LIMITS)
    assert taken is not None
    assert leases.conclude(db, taken, analysis or make_analysis(), verdict or make_verdict())


def page(db: Database, tenant: str = "desk", **fields) -> jobs.JobPage:
    wanted = {"state": None, "label": None, "cursor": None, "limit": 50}
    return jobs.page(db, tenant=tenant, **{**wanted, **fields})


def test_a_submitted_job_is_queued_and_rung_for(db):
    bell = RecordingBell()
    job = jobs.submit(
        db,
        bell,
        tenant="desk",
        blob=make_blob(),
        ref_id="desk-4711",
        file_name="clip é.mp4",
        priority=Priority.LIVE,
    )

    assert bell.rung == [job.id]
    assert jobs.get(db, tenant="desk", job_id=job.id) == JobReport(job=job, judged=None)
    assert job.state is JobState.QUEUED
    assert (job.ref_id, job.file_name, job.priority) == ("desk-4711", "clip é.mp4", Priority.LIVE)
    assert (job.version, job.attempt, job.finished_at, job.error) == (1, 0, None, None)


def test_a_broken_bell_does_not_keep_a_job_from_being_taken(db):
    job = jobs.submit(
        db,
        RecordingBell(is_broken=True),
        tenant="desk",
        blob=make_blob(),
        ref_id=None,
        file_name=None,
        priority=Priority.BATCH,
    )

    taken = leases.claim(db, worker="w1", limits=LIMITS)
    assert taken is not None
    assert taken.job_id == job.id


def test_an_upload_of_more_than_two_gibibytes_can_be_recorded(db):
    job = submit(db, blob=replace(make_blob(), size_bytes=5 * 1024**3))

    assert jobs.get(db, tenant="desk", job_id=job.id).job.size_bytes == 5 * 1024**3


@pytest.mark.parametrize("field", ["ref_id", "file_name"])
@pytest.mark.parametrize("value", ["x" * 256, "a\0b", "a\ud800b"])
def test_names_that_a_database_cannot_hold_are_the_callers_to_mend(db, field, value):
    with pytest.raises(BadRequest, match=field):
        submit(db, **{field: value})

    assert page(db).items == ()


@pytest.mark.parametrize("job_id", [NEVER_MADE, *MALFORMED])
def test_what_never_was_cannot_be_found_however_it_is_spelled(db, job_id):
    store = MemoryStore()
    with pytest.raises(NotFound):
        jobs.get(db, tenant="desk", job_id=job_id)
    with pytest.raises(NotFound):
        jobs.timeline(db, tenant="desk", job_id=job_id, person_id=None)
    with pytest.raises(NotFound):
        jobs.artifact(db, tenant="desk", job_id=job_id, artifact_id="p1", kind=ArtifactKind.CROP)
    with pytest.raises(NotFound):
        jobs.remove(db, store, tenant="desk", job_id=job_id)


def test_what_others_own_looks_like_what_never_was(db):
    store = MemoryStore()
    job = submit(db, "desk", blob=store.put(b"a video"))
    judge(db)
    asked = {
        "get": lambda i: jobs.get(db, tenant="rival", job_id=i),
        "timeline": lambda i: jobs.timeline(db, tenant="rival", job_id=i, person_id=None),
        "person": lambda i: jobs.timeline(db, tenant="rival", job_id=i, person_id="p1"),
        "artifact": lambda i: jobs.artifact(
            db, tenant="rival", job_id=i, artifact_id="p1", kind=ArtifactKind.CROP
        ),
        "remove": lambda i: jobs.remove(db, store, tenant="rival", job_id=i),
    }
    for ask in asked.values():
        with pytest.raises(NotFound) as theirs:
            ask(job.id)
        with pytest.raises(NotFound) as nobodys:
            ask(NEVER_MADE)
        assert str(theirs.value) == str(nobodys.value)
    assert page(db, "rival").items == ()
    assert page(db, "rival", label=Label.MANIPULATED).items == ()
    assert jobs.get(db, tenant="desk", job_id=job.id).judged is not None
    assert len(store.blobs) == 1


def test_a_job_without_a_verdict_has_no_timeline_and_no_pictures(db):
    job = submit(db)

    with pytest.raises(NotFound):
        jobs.timeline(db, tenant="desk", job_id=job.id, person_id=None)
    with pytest.raises(NotFound):
        jobs.artifact(db, tenant="desk", job_id=job.id, artifact_id="p1", kind=ArtifactKind.CROP)


def test_pages_together_hold_every_job_once_newest_first(db):
    made = [submit(db).id for _ in range(7)]
    submit(db, "rival")
    seen, cursor, pages = [], None, 0
    while True:
        got = page(db, cursor=cursor, limit=3)
        seen += [item.job.id for item in got.items]
        pages += 1
        cursor = got.next_cursor
        if cursor is None:
            break

    assert seen == sorted(made, reverse=True)
    assert pages == 3


def test_jobs_made_meanwhile_do_not_move_a_page(db):
    for _ in range(4):
        submit(db)
    first = page(db, limit=2)
    submit(db)
    second = page(db, cursor=first.next_cursor, limit=2)

    ids = [i.job.id for i in (*first.items, *second.items)]
    assert len(set(ids)) == 4
    assert second.next_cursor is None


def test_a_page_that_is_just_full_has_none_after_it(db):
    for _ in range(2):
        submit(db)

    assert page(db, limit=2).next_cursor is None


def test_a_page_shows_the_verdict_of_those_that_have_one(db):
    waiting, judged = submit(db), submit(db, priority=Priority.LIVE)
    judge(db)

    by_id = {i.job.id: (i.label, i.fake_probability) for i in page(db).items}
    assert by_id == {judged.id: ("manipulated", 0.94), waiting.id: (None, None)}


def test_a_page_may_be_of_one_state_or_of_one_label(db):
    fake, real = submit(db), submit(db)
    judge(db)
    judge(db, verdict=make_verdict(Label.NO_MANIPULATION_FOUND, fake_probability=0.02))
    waiting = submit(db)

    def ids(**fields) -> list[str]:
        return [i.job.id for i in page(db, **fields).items]

    assert ids(state=JobState.QUEUED) == [waiting.id]
    assert ids(label=Label.MANIPULATED) == [fake.id]
    assert ids(label=Label.NO_MANIPULATION_FOUND, state=JobState.SUCCEEDED) == [real.id]
    assert ids(label=Label.MANIPULATED, state=JobState.QUEUED) == []
    assert ids(state=JobState.PURGED) == []


@pytest.mark.parametrize("cursor", MALFORMED)
def test_a_cursor_that_no_page_gave_is_refused(db, cursor):
    with pytest.raises(BadRequest, match="cursor"):
        page(db, cursor=cursor)


def test_a_picture_is_given_with_its_bytes_and_only_as_what_it_is(db):
    job = submit(db)
    crop, mask = make_artifact(ArtifactKind.CROP), make_artifact(png=b"another picture")
    judge(db, make_analysis(artifacts=(crop, mask)))

    def fetch(artifact_id: str, kind: ArtifactKind):
        return jobs.artifact(db, tenant="desk", job_id=job.id, artifact_id=artifact_id, kind=kind)

    assert fetch(crop.id, ArtifactKind.CROP) == crop
    assert fetch(mask.id, ArtifactKind.MASK) == mask
    for wrong in [(crop.id, ArtifactKind.MASK), ("p9", ArtifactKind.CROP)]:
        with pytest.raises(NotFound):
            fetch(*wrong)
    for malformed in ["", "a\0b", "x" * 33, "../p1", "\ud800"]:
        with pytest.raises(NotFound):
            fetch(malformed, ArtifactKind.CROP)


def test_a_timeline_is_of_everybody_or_of_one_person(db):
    job = submit(db)
    seen = (Observation(pts_s=1.0, frame_index=30, fake_probability=0.7),)
    judge(
        db,
        make_analysis(
            make_person(make_finding(observations=seen)),
            make_person(make_finding(observations=seen), id="p2"),
        ),
        make_verdict(by_person={"p1": 0.9, "p2": 0.9}),
    )

    everybody = jobs.timeline(db, tenant="desk", job_id=job.id, person_id=None)
    one = jobs.timeline(db, tenant="desk", job_id=job.id, person_id="p2")

    assert [(p.person_id, p.frame_index) for p in everybody] == [
        ("p1", 30),
        ("p1", 126),
        ("p2", 30),
    ]
    assert [(p.person_id, p.fake_probability) for p in one] == [("p2", 0.7)]
    with pytest.raises(NotFound):
        jobs.timeline(db, tenant="desk", job_id=job.id, person_id="p3")


def test_removing_a_job_that_waits_cancels_it_and_deletes_its_video(db):
    store = MemoryStore()
    job = submit(db, blob=store.put(b"a video"))

    assert jobs.remove(db, store, tenant="desk", job_id=job.id).state is JobState.CANCELLED

    assert store.blobs == {}
    assert leases.claim(db, worker="w1", limits=LIMITS) is None
    assert jobs.get(db, tenant="desk", job_id=job.id).job.state is JobState.CANCELLED


def test_a_job_that_runs_keeps_its_video_until_it_is_cancelled_for_certain(sqlite_url):
    db = Database(sqlite_url)

    class LookingStore(MemoryStore):
        def delete(self, key: str) -> None:
            states.append(jobs.get(db, tenant="desk", job_id=job.id).job.state)
            super().delete(key)

    states: list[JobState] = []
    store = LookingStore()
    job = submit(db, blob=store.put(b"a video"))
    leases.claim(db, worker="w1", limits=LIMITS)

    jobs.remove(db, store, tenant="desk", job_id=job.id)

    assert states == [JobState.CANCELLED]
    db.close()


def marked(db: Database, marker: str) -> list[str]:
    """List the columns of the whole database that hold `marker` anywhere."""
    found = []
    with db.reading() as session:
        inspector = inspect(session.connection())
        for table in inspector.get_table_names():
            for column in inspector.get_columns(table):
                name = column["name"]
                cast = f'CAST("{name}" AS TEXT)'
                query = text(f"SELECT count(*) FROM {table} WHERE {cast} LIKE :marker")
                if session.scalar(query, {"marker": f"%{marker}%"}):
                    found.append(f"{table}.{name}")
    return found


def test_after_a_purge_nothing_of_the_video_or_its_sender_is_left(db):
    store = MemoryStore()
    job = submit(db, blob=store.put(b"a video"), ref_id="MARKER", file_name="MARKER.mp4")
    evidence = make_finding(caveat="MARKER")
    analysis = replace(
        make_analysis(make_person(evidence)),
        timings={"MARKER_s": 1.0},
        provenance=replace(make_analysis().provenance, frame_indices="MARKER"),
        video=replace(make_analysis().video, codec="MARKER"),
    )
    judge(db, analysis, replace(make_verdict(), statement="MARKER"))
    assert len(marked(db, "MARKER")) >= 6

    assert jobs.remove(db, store, tenant="desk", job_id=job.id).state is JobState.PURGED

    assert marked(db, "MARKER") == []
    assert store.blobs == {}
    with db.reading() as session:
        for table in ("verdicts", "persons", "evidence", "artifacts"):
            assert session.scalar(text(f"SELECT count(*) FROM {table}")) == 0
    for _ in range(2):
        with pytest.raises(NotFound):
            jobs.get(db, tenant="desk", job_id=job.id)
        with pytest.raises(NotFound):
            jobs.remove(db, store, tenant="desk", job_id=job.id)
    assert page(db).items == ()


def test_the_error_of_a_rejected_job_is_purged_with_it(db):
    job = submit(db)
    taken = leases.claim(db, worker="w1", limits=LIMITS)
    leases.reject(db, taken, make_error(detail="MARKER"))

    jobs.remove(db, MemoryStore(), tenant="desk", job_id=job.id)

    assert marked(db, "MARKER") == []


def test_a_purge_that_broke_off_may_be_repeated(db):
    class FullOfHoles(MemoryStore):
        def delete(self, key: str) -> None:
            super().delete(key)
            raise OSError("the disk went away")

    broken = FullOfHoles()
    job = submit(db, blob=broken.put(b"a video"))
    judge(db)
    with pytest.raises(OSError, match="went away"):
        jobs.remove(db, broken, tenant="desk", job_id=job.id)
    assert jobs.get(db, tenant="desk", job_id=job.id).judged is not None

    again = jobs.remove(db, MemoryStore(), tenant="desk", job_id=job.id)

    assert again.state is JobState.PURGED


def test_every_change_moves_the_version_on(db):
    job = submit(db)
    taken = leases.claim(db, worker="w1", limits=LIMITS)
    running = jobs.get(db, tenant="desk", job_id=job.id).job.version
    leases.conclude(db, taken, make_analysis(), make_verdict())
    done = jobs.get(db, tenant="desk", job_id=job.id).job.version

    assert job.version < running < done


def test_a_verdict_and_all_of_it_is_read_at_one_moment(database_url, db):
    """A purge between two reads of one report must not show half of it."""
    job = submit(db)
    judge(db)
    other = Database(database_url)
    whole = Judged.of(make_analysis(), make_verdict())
    original = jobs.verdict_rows.load
    assert jobs.get(db, tenant="desk", job_id=job.id).judged == whole
    with db.reading() as session:
        row = jobs.job_rows.find(session, tenant="desk", job_id=job.id)
        jobs.remove(other, MemoryStore(), tenant="desk", job_id=job.id)

        assert original(session, row) == whole
    other.close()


def test_the_figures_count_what_is_there(db):
    for _ in range(2):
        submit(db, priority=Priority.LIVE)
    submit(db)
    judge(db)
    workers.announce(db, worker="w1", code="1.0", condition=make_condition())
    expired = leases.claim(db, worker="w1", limits=WorkerSettings(lease_s=1e-6))
    assert expired is not None

    seen = jobs.figures(db)

    assert seen.jobs_by_state == {
        **{state.value: 0 for state in JobState},
        "queued": 1,
        "running": 1,
        "succeeded": 1,
    }
    assert seen.verdicts_by_label == {
        "manipulated": 1,
        "no_manipulation_found": 0,
        "inconclusive": 0,
    }
    assert seen.expired_leases == 1
    assert seen.workers_seen == 1
    assert seen.oldest_queued_age_s["live"] == 0
    assert 0 < seen.oldest_queued_age_s["batch"] < 60


def test_the_figures_of_an_empty_service_are_all_zero(db):
    seen = jobs.figures(db)

    assert set(seen.jobs_by_state.values()) == {0}
    assert seen.oldest_queued_age_s == {"live": 0, "batch": 0}
    assert set(seen.verdicts_by_label.values()) == {0}


def test_the_detector_of_an_observation_is_known_by_its_say(db):
    """Of two that give a probability for one frame, the one that the policy listens to is shown."""
    job = submit(db)
    seen = Observation(pts_s=1.0, frame_index=30, fake_probability=0.7)
    other = replace(seen, fake_probability=0.1, fake_area=0.3)
    judge(
        db,
        make_analysis(
            make_person(
                make_finding(DetectorName.PIXEL_SEGMENTER, observations=(other,)),
                make_finding(observations=(seen,)),
            ),
            artifacts=(make_artifact(frame_index=30, pts_s=1.0),),
        ),
    )

    (point,) = jobs.timeline(db, tenant="desk", job_id=job.id, person_id=None)

    assert (point.fake_probability, point.fake_area) == (0.7, 0.3)
    assert point.mask_id == "p1-000030"
