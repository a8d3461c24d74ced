from dataclasses import replace
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

from app.domain.evidence import DetectorName
from app.domain.policy import PointName, read_policy
from models.manifest import shipped_manifest
from tests.workers.training.fusion.made_evidence import make_clip, make_clips, silent
from workers.training.errors import BadDataset
from workers.training.fusion import command, fit
from workers.training.fusion.card import MARK
from workers.training.fusion.command import fuse_command, learned_features
from workers.training.fusion.evidence import write_evidence
from workers.training.fusion.points import draw_points

BLUR = DetectorName.OVER_BLUR


HEAD = "# Mine\n\nThe bad news.\n"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Two runs of the command on the same evidence, the second onto a card that is there."""
    folder = tmp_path_factory.mktemp("fusion")
    clips = make_clips(120, cues={BLUR: 0.9}, groups=60)
    nobody = make_clip("n.mp4", label="no_face", persons=())
    turned_away = make_clip("t.mp4", silent(DetectorName.FRAME_CLASSIFIER), group="t")
    write_evidence(folder, [*clips, nobody, turned_away])
    (folder / "b.md").write_text(f"{HEAD}\n{MARK}\n\nold figures\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(command, "cue_kinds", dict)  # deviations are those that were drawn
        patch.setattr(command, "DRAWS", 40)
        patch.setattr(fit, "STRENGTHS", (0.1, 1.0))
        policy, _ = (
            fuse_command(
                folder,
                folder / f"{run}.json",
                version="made-1",
                card=folder / f"{run}.md",
                shipped=None,
                bank=None,
                reference=None,
                console=Console(file=StringIO()),
            )
            for run in ("a", "b")
        )
    return folder, policy, clips


def test_the_policy_reads_as_it_was_meant(fitted):
    folder, policy, _ = fitted

    assert read_policy(folder / "a.json") == policy
    assert policy.version == "made-1"
    assert [t.feature for t in policy.fusion.terms] == ["frame_classifier", "over_blur"]
    assert policy.made.clips == 120
    assert policy.made.networks.keys() == {"frame_classifier"}


def test_the_same_evidence_gives_the_same_bytes(fitted):
    folder, _, _ = fitted

    assert (folder / "a.json").read_bytes() == (folder / "b.json").read_bytes()
    a, b = ((folder / name).read_text().partition(MARK)[2] for name in ("a.md", "b.md"))
    assert a == b != ""


def test_the_policy_says_of_every_feature_whether_it_decides(fitted):
    _, policy, _ = fitted
    cues = {c.feature: c for c in policy.cues}

    assert cues["over_blur"].decides
    assert cues["over_blur"].gain.low > 0
    assert not cues["frame_classifier_top_quarter"].decides
    assert cues["over_blur"].abstained_real == 1
    assert cues["over_blur"].real_clips == 61
    assert "pulse" not in cues  # nobody measured it
    assert 0.8 < cues["over_blur"].auc.low < cues["over_blur"].auc.value


def test_no_more_real_clips_lie_above_a_line_than_it_allows(fitted):
    _, policy, clips = fitted
    reals = sum(not c.is_fake for c in clips)

    common, strict = (policy.point(name) for name in (PointName.FPR_5, PointName.FPR_1))

    assert common.false_positives <= 0.05 * reals
    assert strict.false_positives == 0
    assert common.manipulated_from <= strict.manipulated_from
    assert common.cleared_fakes <= 0.1 * common.fake_clips
    assert common.by_family["faceswap"].found == common.found


def test_what_stands_above_the_mark_of_the_card_is_kept(fitted):
    folder, _, _ = fitted

    text = (folder / "b.md").read_text()

    assert text.startswith(HEAD)
    assert "old figures" not in text
    assert text.count(MARK) == 1
    assert "| `over_blur` |" in text


def test_a_classifier_that_learned_from_what_it_judged_is_refused():
    sha256 = f"sha256:{shipped_manifest()['frame_classifier'].sha256}"
    clips = [replace(c, judged_by={"frame_classifier": sha256}) for c in make_clips(8)]

    with pytest.raises(BadDataset, match="--classifiers"):
        learned_features(clips)


def test_a_segmenter_that_learned_from_what_it_judged_has_no_say():
    sha256 = f"sha256:{shipped_manifest()['fake_segmenter'].sha256}"
    clips = [replace(c, judged_by={"fake_segmenter": sha256}) for c in make_clips(8)]

    assert learned_features(clips) == {"pixel_segmenter"}
    assert learned_features([c for c in clips if c.split != "train"]) == frozenset()


def test_lines_are_in_order_where_nothing_can_be_told():
    is_fake = np.arange(40) % 2 == 1

    points = draw_points(np.full(40, 0.5), is_fake, ["faceswap"] * 40)

    assert all(p.clear_below < p.manipulated_from for p in points)
    assert all(p.false_positives == 0 for p in points)
    assert all(p.found == p.cleared_fakes == 0 for p in points)


def test_a_classifier_that_tells_nothing_makes_no_policy():
    upside_down = make_clips(40, classifier_by=-1.5, groups=40)

    with pytest.raises(BadDataset, match="coin"):
        command.fuse(
            upside_down,
            version="made-1",
            evidence_sha256="00" * 32,
            held_out=[],
            bank=None,
            reference="none",
            console=Console(file=StringIO()),
        )
