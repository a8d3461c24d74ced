"""Are the detectors' observations laid side by side as they were made?"""

from app.domain.evidence import ArtifactKind, DetectorName, Observation
from app.domain.policy import CURRENT
from app.domain.report import ArtifactFacts
from app.domain.timeline import TimelinePoint, merge
from tests.make import make_abstention, make_artifact, make_finding, make_person


def seen(frame_index: int, probability: float | None = None, area: float | None = None):
    return Observation(
        pts_s=frame_index / 30,
        frame_index=frame_index,
        fake_probability=probability,
        fake_area=area,
    )


def classifier(*observations: Observation):
    return make_finding(observations=observations)


def segmenter(*observations: Observation):
    return make_finding(DetectorName.PIXEL_SEGMENTER, observations=observations)


def blinks(*observations: Observation):
    return make_finding(DetectorName.BLINK_RATE, observations=observations)


def mask(frame_index: int, *, person_id: str = "p1", area: float = 0.25) -> ArtifactFacts:
    return ArtifactFacts.of(
        make_artifact(
            person_id=person_id, frame_index=frame_index, pts_s=frame_index / 30, area=area
        )
    )


def test_nobody_and_nothing_make_an_empty_timeline():
    assert merge([], [], CURRENT) == ()
    assert merge([make_person(make_abstention())], [], CURRENT) == ()


def test_what_is_seen_of_one_frame_is_one_point():
    person = make_person(classifier(seen(30, 0.7)), segmenter(seen(30, area=0.2)))

    assert merge([person], [mask(30)], CURRENT) == (
        TimelinePoint(
            person_id="p1",
            pts_s=1.0,
            frame_index=30,
            fake_probability=0.7,
            fake_area=0.2,
            mask_id="p1-000030",
        ),
    )


def test_where_the_classifier_looked_is_at_its_frame_and_marks_no_area():
    picture = ArtifactFacts.of(make_artifact(ArtifactKind.ATTENTION, frame_index=30, pts_s=1.0))

    (point,) = merge([make_person(classifier(seen(30, 0.7)))], [picture], CURRENT)

    assert (point.attention_id, point.mask_id, point.fake_area) == (picture.id, None, None)
    assert point.fake_probability == 0.7


def test_points_are_by_person_as_listed_and_then_by_time():
    persons = [
        make_person(classifier(seen(60, 0.1), seen(3, 0.2)), id="p1"),
        make_person(classifier(seen(1, 0.3)), id="p2"),
        make_person(classifier(seen(0, 0.3)), id="p10"),
    ]

    points = merge(persons, [mask(2, person_id="p2")], CURRENT)

    assert [(p.person_id, p.frame_index) for p in points] == [
        ("p1", 3),
        ("p1", 60),
        ("p2", 1),
        ("p2", 2),
        ("p10", 0),
    ]


def test_the_detector_with_a_say_wins_in_whatever_order_they_are_listed():
    evidence = [segmenter(seen(30, 0.1)), classifier(seen(30, 0.7)), blinks(seen(30, 0.2))]
    for order in (evidence, evidence[::-1]):
        (point,) = merge([make_person(*order)], [], CURRENT)
        assert point.fake_probability == 0.7


def test_a_detector_without_a_say_is_shown_where_nobody_else_spoke():
    (point,) = merge([make_person(blinks(seen(30, 0.2)))], [], CURRENT)

    assert point.fake_probability == 0.2


def test_a_mask_alone_is_a_point_with_its_own_area():
    (point,) = merge([make_person(classifier())], [mask(30, area=0.4)], CURRENT)

    assert (point.fake_probability, point.fake_area, point.mask_id) == (None, 0.4, "p1-000030")


def test_crops_and_the_masks_of_others_are_no_points():
    crop = ArtifactFacts.of(make_artifact(ArtifactKind.CROP))

    assert merge([make_person(classifier())], [crop, mask(3, person_id="p2")], CURRENT) == ()
