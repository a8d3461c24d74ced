"""Does the sheet show everybody, framed in red where something was marked?"""

from dataclasses import replace

import cv2
import numpy as np

from app.domain.evidence import AbstainReason, Abstention, DetectorName, Evidence, Person
from tests.make import make_finding
from tests.make_faces import make_clip, make_track
from workers.detection.contact_sheet import GLOW, WIDTH, SheetRow, contact_sheet
from workers.detection.stage import CROP_SIDE_PX, FaceClip, PixelMask


def drawn(*rows: SheetRow) -> np.ndarray:
    png = contact_sheet("clip.mp4", rows)
    return cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)


def row(clip: FaceClip, *evidence: Evidence, masks: tuple[PixelMask, ...] = ()) -> SheetRow:
    person = Person(
        id=clip.person_id,
        first_s=0.0,
        last_s=61.5,
        frames=clip.frames,
        median_face_px=160.0,
        evidence=evidence,
    )
    return SheetRow(person=person, clip=clip, masks=masks)


def all_marked(clip: FaceClip) -> tuple[PixelMask, ...]:
    ones = np.ones((CROP_SIDE_PX, CROP_SIDE_PX), np.float32)
    return tuple(PixelMask(sample=s, probability=ones, area=1.0) for s in clip.samples[:3])


def glow(sheet: np.ndarray) -> float:
    """Return the share of the sheet that is nearer to the glow than noise is in the mean."""
    return float((np.abs(sheet - GLOW).sum(axis=-1) < 150).mean())


def test_every_person_adds_a_part_to_the_sheet() -> None:
    clip, other = make_clip(), make_clip(person_id="p2")

    one, two = drawn(row(clip)), drawn(row(clip), row(other))

    assert one.shape[1] == two.shape[1] == WIDTH
    assert two.shape[0] > one.shape[0] + 200


def test_masks_glow() -> None:
    clip = make_clip()

    assert glow(drawn(row(clip, masks=all_marked(clip)))) > 3 * glow(drawn(row(clip)))


def test_the_same_persons_give_the_same_sheet() -> None:
    clip = make_clip()

    first, second = (contact_sheet("a", [row(clip, make_finding())]) for _ in range(2))

    assert first == second


def test_nobody_is_lost_for_a_strange_name_or_a_lack_of_findings() -> None:
    clip = make_clip(make_track(frames=5, samples=1))
    silence = Abstention(detector=DetectorName.BLINK_RATE, reason=AbstainReason.TRACK_TOO_SHORT)

    png = contact_sheet("Bühne \N{PILE OF POO} \x00.mp4", [row(clip, silence)])

    assert png.startswith(b"\x89PNG")


def test_a_cue_without_a_probability_is_passed_over() -> None:
    clip = make_clip(make_track(frames=5, samples=1))
    cue = replace(make_finding(DetectorName.BLINK_RATE), fake_probability=None)

    png = contact_sheet("a", [row(clip, make_finding(), cue)])

    assert png == contact_sheet("a", [row(clip, make_finding())])


def test_upright_videos_and_single_looks_fit_as_well() -> None:
    track = make_track(frames=5, samples=1)
    look = replace(track.samples[0], thumbnail=np.zeros((640, 360, 3), np.uint8))
    clip = make_clip(replace(track, samples=(look,)))
    upright = replace(clip, frame_width_px=720, frame_height_px=1280)

    assert drawn(row(upright)).shape[1] == WIDTH
