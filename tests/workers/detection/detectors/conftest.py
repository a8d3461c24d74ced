"""Networks that the detectors are tried with: they judge by brightness and by redness."""

from pathlib import Path

import pytest

from models.registry import OnnxModel
from tests.make_models import (
    make_canary,
    make_classifier_onnx,
    make_model,
    make_segmenter_onnx,
)


@pytest.fixture
def brightness(tmp_path: Path) -> OnnxModel:
    """A frame classifier: the brighter, the more manipulated."""
    return make_model(
        tmp_path,
        make_classifier_onnx(),
        name="brightness",
        canary=make_canary("fake_logit", mean=-8.0),
        caveat="brightness proves nothing",
    )


@pytest.fixture
def redness(tmp_path: Path) -> OnnxModel:
    """A pixel segmenter: red is manipulated."""
    return make_model(
        tmp_path,
        make_segmenter_onnx(),
        name="redness",
        canary=make_canary("fake_probability", mean=0.0),
        caveat="redness proves nothing",
    )
