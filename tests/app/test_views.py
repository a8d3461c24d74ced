"""Is the wire's shape the one that was promised, and the same from every door?"""

import json
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from app.domain.evidence import AbstainReason, DetectorName
from app.domain.fusion import Interval
from app.domain.job import JobState
from app.domain.policy import CURRENT, PointName
from app.domain.report import JobSummary
from app.domain.verdict import Label
from app.views import AnalysisView, JobSummaryView, JobView, ScanView
from tests.make import (
    make_abstention,
    make_analysis,
    make_error,
    make_finding,
    make_job,
    make_judged,
    make_person,
    make_report,
    make_verdict,
)


def written(view: AnalysisView) -> dict[str, object]:
    found: dict[str, object] = json.loads(view.to_json())
    return found


def test_an_interval_is_written_beside_its_probability_and_not_where_it_is_unknown() -> None:
    interval = Interval(low=0.81, high=0.98)
    verdict = replace(
        make_verdict(),
        interval=interval,
        intervals_by_person={"p1": interval},
        operating_point=PointName.FPR_1,
    )
    known = written(JobView.of(make_report(judged=make_judged(verdict=verdict)), ""))
    unknown = written(JobView.of(make_report(), ""))

    assert known["verdict"]["interval"] == {"low": 0.81, "high": 0.98}
    assert known["persons"][0]["interval"] == {"low": 0.81, "high": 0.98}
    assert known["verdict"]["operating_point"] == "fpr_1"
    assert "interval" not in unknown["verdict"]
    assert "interval" not in unknown["persons"][0]
    assert "operating_point" not in unknown["verdict"]


def test_a_judged_job_is_written_as_the_design_shows_it() -> None:
    job = written(JobView.of(make_report(make_job(ref_id="desk-4711")), ""))
    path = f"/v1/jobs/{job['id']}"

    assert list(job)[:3] == ["id", "state", "ref_id"]
    assert job["progress"] == {"stage": "done", "fraction": 1.0}
    assert job["verdict"] == {
        "label": "manipulated",
        "fake_probability": 0.94,
        "reasons": ["person p1: 0.94"],
        "statement": "Strong signs that the face of one person was manipulated, from 0:03 to 0:11.",
        "caveat": "A caveat.",
        "policy": CURRENT.version,
    }
    assert job["persons"] == [
        {
            "id": "p1",
            "first_s": 3.0,
            "last_s": 11.2,
            "frames": 241,
            "median_face_px": 120.0,
            "fake_probability": 0.94,
            "best_crop": f"{path}/crops/p1",
            "evidence": [
                {
                    "detector": "frame_classifier",
                    "finding": {"fake_probability": 0.92, "frames": 16, "is_calibrated": True},
                    "model": "frame_classifier@1.0",
                },
                {
                    "detector": "blink_rate",
                    "abstention": {
                        "reason": "track_too_short",
                        "detail": "8.2 s of track",
                        "needs": "30 s of track at 20 fps or more",
                    },
                },
            ],
        }
    ]


def test_a_job_of_a_rerun_names_the_job_it_was_made_from_and_another_says_nothing() -> None:
    job = replace(make_job(), rerun_of="01KDEEPVERD1CT000000000002")
    summary = JobSummary(job=job, label=None, fake_probability=None)

    assert written(JobView.of(make_report(job), ""))["rerun_of"] == job.rerun_of
    assert json.loads(JobSummaryView.of(summary, "").model_dump_json())["rerun_of"] == job.rerun_of
    assert "rerun_of" not in written(JobView.of(make_report(make_job()), ""))


def test_the_versions_of_networks_are_shown_where_they_were_stored() -> None:
    versions = {"frame_classifier": "1.1"}
    judged = make_judged()
    named = replace(judged, provenance=replace(judged.provenance, versions=versions))

    assert written(ScanView.of_judged("a.mp4", named))["provenance"]["versions"] == versions  # type: ignore[index]
    assert "versions" not in written(ScanView.of_judged("a.mp4", judged))["provenance"]  # type: ignore[operator]


def test_an_unknown_probability_is_written_as_null_even_where_nulls_are_left_out() -> None:
    verdict = make_verdict(Label.INCONCLUSIVE, fake_probability=None)
    view = JobView.of(make_report(judged=make_judged(verdict=verdict)), "")

    assert '"fake_probability":null' in view.to_json()
    assert view.model_dump(exclude_none=True)["verdict"]["label"] == "inconclusive"


def test_a_probability_of_zero_is_written() -> None:
    verdict = make_verdict(Label.NO_MANIPULATION_FOUND, fake_probability=0.0)
    view = JobView.of(make_report(judged=make_judged(verdict=verdict)), "")

    assert view.to_json().count('"fake_probability":0.0') == 2  # of the verdict and of the person


def test_no_state_but_succeeded_has_anything_like_a_verdict() -> None:
    for state in JobState:
        if state is JobState.SUCCEEDED:
            continue
        job = written(JobView.of(make_report(make_job(state, error=make_error())), ""))

        assert "verdict" not in job
        assert "timings" not in job
        assert job["persons"] == []
        assert job["error"] == {
            "code": "no-video-stream",
            "detail": "no video in it",
            "actor": "client",
        }


def test_a_scan_and_a_job_of_the_same_analysis_say_the_same() -> None:
    judged = make_judged()
    job = written(JobView.of(make_report(judged=judged), ""))
    scan = written(ScanView.of_judged("a.mp4", judged, ["out/p1-000126.png"]))
    for person in (*job["persons"], *scan["persons"]):  # type: ignore[misc]
        person.pop("best_crop", None)

    shared = ("state", "verdict", "persons", "video", "provenance", "timings")
    assert {k: job[k] for k in shared} == {k: scan[k] for k in shared}
    assert scan["file"] == "a.mp4"
    assert scan["masks"] == ["out/p1-000126.png"]


def test_a_rejected_scan_has_an_error_and_no_verdict() -> None:
    scan = written(ScanView.of_rejected("a.mp4", make_error()))

    assert scan["state"] == "rejected"
    assert scan["error"]["code"] == "no-video-stream"  # type: ignore[index]
    assert "verdict" not in scan


def test_abstentions_over_the_whole_video_are_shown() -> None:
    silence = make_abstention(
        DetectorName.FRAME_CLASSIFIER, AbstainReason.MODEL_MISSING, detail="", needs=""
    )
    judged = make_judged(make_analysis(abstentions=(silence,)))

    job = written(JobView.of(make_report(judged=judged), ""))

    assert job["abstentions"] == [
        {"detector": "frame_classifier", "abstention": {"reason": "model_missing"}}
    ]


def test_measurements_and_caveats_are_shown_where_there_are_any() -> None:
    finding = make_finding(
        DetectorName.BLINK_RATE,
        measurements={"blinks_per_min": 17.0},
        caveat="few eyes",
        model=None,
    )
    judged = make_judged(make_analysis(make_person(finding)))

    (person,) = JobView.of(make_report(judged=judged), "").persons
    (evidence,) = json.loads(person.model_dump_json())["evidence"]

    assert evidence["finding"]["measurements"] == {"blinks_per_min": 17.0}
    assert evidence["finding"]["caveat"] == "few eyes"
    assert "model" not in evidence


def test_a_person_without_a_stored_crop_has_no_link_to_one() -> None:
    judged = make_judged(make_analysis(artifacts=()))

    (person,) = JobView.of(make_report(judged=judged), "").persons

    assert person.best_crop is None


@given(label=st.sampled_from(Label), probability=st.none() | st.floats(0, 1))
def test_what_was_written_can_be_read_back(label: Label, probability: float | None) -> None:
    verdict = make_verdict(label, fake_probability=probability)
    judged = make_judged(verdict=verdict)
    job = JobView.of(make_report(judged=judged), "https://verdict.example")
    scan = ScanView.of_judged("a.mp4", judged)

    assert job == JobView.model_validate_json(job.to_json())
    assert scan == ScanView.model_validate_json(scan.to_json())


def test_a_listed_job_without_a_verdict_has_no_label() -> None:
    summary = JobSummary(job=make_job(JobState.QUEUED), label=None, fake_probability=None)

    line = json.loads(JobSummaryView.of(summary, "").model_dump_json())

    assert "label" not in line
    assert "fake_probability" not in line
    assert line["link"] == f"/v1/jobs/{line['id']}"
