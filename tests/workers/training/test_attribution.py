"""Is a family named where it can be told, and only there?"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from app.domain.evidence import AbstainReason, Abstention, Cue, DetectorName, Finding
from tests.make import make_person
from workers.detection.attribution import UNKNOWN, read_attribution
from workers.training.attribution import (
    LEAST_PRECISION,
    OTHER,
    answering,
    attribute_command,
    cases_of,
    left_out,
)
from workers.training.errors import BadDataset
from workers.training.fusion.evidence import ClipEvidence, write_evidence

quiet = Console(quiet=True)


def a_clip(
    number: int,
    family: str,
    *,
    jerk: float,
    blur: float,
    group: str | None = None,
    dataset: str | None = None,
    suspicion: float = 0.9,
) -> ClipEvidence:
    evidence = (
        Finding(
            detector=DetectorName.FRAME_CLASSIFIER,
            fake_probability=suspicion,
            frames=16,
            measurements={"fake_logit_deviation": 1.0},
        ),
        Finding(
            detector=DetectorName.TEMPORAL_SMOOTHNESS,
            cue=Cue(value=jerk, unit="times", z=None),
            frames=100,
        ),
        Finding(
            detector=DetectorName.OVER_BLUR, cue=Cue(value=blur, unit="times", z=None), frames=16
        ),
        Abstention(detector=DetectorName.BLINK_RATE, reason=AbstainReason.TRACK_TOO_SHORT),
    )
    return ClipEvidence(
        clip=f"{number}.mp4",
        path=f"{number}.mp4",
        sha256=f"{number:064x}",
        label="real" if family == "real" else "fake",
        method=family,
        family=family,
        group=group or f"g{number}",
        dataset=dataset or ("one" if number % 2 else "other"),
        quality="",
        split="train",
        manifest_sha256="a" * 64,
        judged_by={},
        code="test",
        persons=(make_person(*evidence),),
    )


def two_families(*, apart: float, each: int = 24, groups: int = 12) -> list[ClipEvidence]:
    """Families whose cues lie so many deviations apart."""
    rng = np.random.default_rng(0)
    found = []
    for place, family in enumerate(("faceswap", "talking_head")):
        for i in range(each):
            jerk, blur = np.exp(rng.normal(place * apart, 1.0, 2))
            found.append(
                a_clip(
                    len(found),
                    family,
                    jerk=float(jerk),
                    blur=float(blur),
                    group=f"{family}-{i % groups}",
                    dataset=f"d{i % 3}",
                )
            )
    return found


def test_families_that_differ_are_named_with_the_precision_that_was_measured() -> None:
    cases = cases_of(two_families(apart=3.0))

    found = {a.family: a for a in answering(cases, left_out(cases))}

    for family in ("faceswap", "talking_head"):
        a = found[family]
        assert a.named_from is not None
        assert a.precision is not None
        assert a.precision >= LEAST_PRECISION
        assert a.answers >= 10
        assert a.right / a.answers > 0.8
        assert (a.clips, a.groups) == (24, 12)


def test_a_family_that_there_is_hardly_anything_to_tell_from_is_never_named() -> None:
    clips = two_families(apart=3.0)
    few = {f"talking_head-{i}" for i in range(4)}
    kept = [clip for clip in clips if clip.family == "faceswap" or clip.group in few]
    kept += [replace(clip, clip=f"x{clip.clip}", path=f"x{clip.path}") for clip in kept[-8:]]
    cases = cases_of(kept)

    found = {a.family: a for a in answering(cases, left_out(cases))}

    assert found["faceswap"].named_from is None
    assert "too few to tell it from" in found["faceswap"].why_not


def test_families_that_do_not_differ_are_never_named() -> None:
    cases = cases_of(two_families(apart=0.0))

    for a in answering(cases, left_out(cases)):
        assert a.named_from is None
        assert "from no probability on" in a.why_not


@pytest.mark.parametrize(
    ("groups", "dataset"), [(4, None), (12, "only one")], ids=["few groups", "one data set"]
)
def test_a_family_that_few_stand_for_is_never_named_however_well_it_is_told(
    groups: int, dataset: str | None
) -> None:
    clips = two_families(apart=3.0)
    rng = np.random.default_rng(1)
    for i in range(20):
        value = float(np.exp(rng.normal(-3, 0.3)))
        clips.append(
            a_clip(
                100 + i,
                "reenactment",
                jerk=value,
                blur=1 / value,
                group=f"re-{i % groups}",
                dataset=dataset,
            )
        )
    cases = cases_of(clips)

    found = {a.family: a for a in answering(cases, left_out(cases))}

    assert "reenactment" not in found
    assert found[OTHER].named_from is None
    assert found[OTHER].clips == 20
    assert cases.left_out[0].startswith("reenactment (20 clips, groups: ")
    assert found["faceswap"].named_from is not None


def test_whoever_is_most_often_in_the_data_is_not_named_for_that() -> None:
    clips = two_families(apart=0.0, each=12)
    rng = np.random.default_rng(2)
    for i in range(60):
        jerk, blur = np.exp(rng.normal(0, 1.0, 2))
        clips.append(a_clip(200 + i, "faceswap", jerk=float(jerk), blur=float(blur)))
    cases = cases_of(clips)

    assert {a.named_from for a in answering(cases, left_out(cases))} == {None}


def test_real_clips_are_left_out_and_those_that_nobody_suspects_are_not_counted() -> None:
    clips = two_families(apart=3.0)
    clips.append(a_clip(300, "real", jerk=1.0, blur=1.0))
    clips += [a_clip(400 + i, "talking_head", jerk=1.0, blur=1.0, suspicion=0.3) for i in range(30)]
    cases = cases_of(clips)

    found = {a.family: a for a in answering(cases, left_out(cases))}

    assert len(cases.families) == 78
    assert cases.is_asked.sum() == 48
    assert found["faceswap"].right <= 24


def test_too_few_clips_are_refused() -> None:
    with pytest.raises(BadDataset, match="not enough"):
        cases_of(two_families(apart=3.0, each=9))


def test_what_is_written_reads_and_answers_as_it_was_fitted(tmp_path: Path) -> None:
    clips = two_families(apart=3.0)
    write_evidence(tmp_path, clips)
    file = tmp_path / "attribution.json"

    found = attribute_command(tmp_path, file, console=quiet)

    known = read_attribution(file)
    assert {f.name: f.named_from for f in known.families} == {a.family: a.named_from for a in found}
    assert known.needs == {
        DetectorName.FRAME_CLASSIFIER,
        DetectorName.TEMPORAL_SMOOTHNESS,
        DetectorName.OVER_BLUR,
    }
    assert "whole-image synthesis (no clips)" in known.words
    answers = [
        known.answer({said.detector: said for said in clip.persons[0].evidence}) for clip in clips
    ]
    named = [(a, c.family) for a, c in zip(answers, clips, strict=True) if a != UNKNOWN]
    assert len(named) > 30
    assert np.mean([a == family for a, family in named]) > 0.9


def test_the_same_evidence_gives_the_same_file(tmp_path: Path) -> None:
    write_evidence(tmp_path, two_families(apart=2.0))

    for name in ("first.json", "second.json"):
        attribute_command(tmp_path, tmp_path / name, console=quiet)

    assert (tmp_path / "first.json").read_bytes() == (tmp_path / "second.json").read_bytes()
