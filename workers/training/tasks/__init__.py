"""Which networks can be trained? Each task is loaded when it is asked for, and not before."""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from pydantic import ValidationError

from workers.training.errors import BadRecipe
from workers.training.recipe import unusable

if TYPE_CHECKING:
    from workers.training.task import ServedTask

Raw = Mapping[str, object]
"""A recipe as it was read, nothing checked."""


def _classifier(raw: Raw) -> "ServedTask":
    from workers.training.tasks.classifier import ClassifierTask  # noqa: PLC0415

    return ClassifierTask(raw)


def _segmenter(raw: Raw) -> "ServedTask":
    from workers.training.tasks.segmenter import SegmenterTask  # noqa: PLC0415

    return SegmenterTask(raw)


def _detector(raw: Raw) -> "ServedTask":
    from workers.training.tasks.detector import DetectorTask  # noqa: PLC0415

    return DetectorTask(raw)


def _landmarks(raw: Raw) -> "ServedTask":
    from workers.training.tasks.landmarks import LandmarksTask  # noqa: PLC0415

    return LandmarksTask(raw)


def _embedding(raw: Raw) -> "ServedTask":
    from workers.training.tasks.embedding import EmbeddingTask  # noqa: PLC0415

    return EmbeddingTask(raw)


def _landmark_flow(raw: Raw) -> "ServedTask":
    from workers.training.tasks.landmark_flow import LandmarkFlowTask  # noqa: PLC0415

    return LandmarkFlowTask(raw)


TASKS: dict[str, Callable[[Raw], "ServedTask"]] = {
    "classifier": _classifier,
    "segmenter": _segmenter,
    "detector": _detector,
    "landmarks": _landmarks,
    "landmark_flow": _landmark_flow,
    "embedding": _embedding,
}

SERVED_AS = {
    "classifier": "frame_classifier",
    "segmenter": "fake_segmenter",
    "detector": "face_detector",
    "landmarks": "face_landmarks",
    "landmark_flow": "landmark_flow",
    "embedding": "face_embedding",
}
"""How the manifest calls the network that a task makes."""


def make_task(raw: Raw) -> "ServedTask":
    """
    Make the task that a recipe names.

    Raises:
        BadRecipe: no such task, or its recipe lacks something or has something unknown.
    """
    name = raw.get("task")
    if not isinstance(name, str) or name not in TASKS:
        raise BadRecipe(f"the recipe's task is {name!r}; want one of {sorted(TASKS)}")
    try:
        return TASKS[name](raw)
    except ValidationError as wrong:
        raise unusable(name, wrong) from wrong
