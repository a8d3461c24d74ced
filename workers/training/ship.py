"""
How does a finished run become a network that the program comes with?

    python -m workers.training.ship RUN_DIR --name frame_classifier --calibration cal.json

Copies the run's ONNX into models/weights and writes its entry in models/manifest.toml: digest,
canary, how it was trained, how it is calibrated. The words come from shipping.toml beside this
file. Everything else in the manifest stays as it is. The same bytes may be shipped again; other
ones need another `--version`.
"""

import argparse
import hashlib
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from pydantic import BaseModel, ConfigDict, ValidationError

import models
from app.errors import Misconfigured, ServiceError
from models.canary import canary_input
from models.manifest import (
    Calibration,
    Canary,
    Expected,
    Licence,
    ManifestEntry,
    Training,
    parse_manifest,
)
from models.onnx_wire import OnnxFileError, check_self_contained
from models.pull import put
from models.registry import QUIET

RUN_FILE = "run.json"
MODELS = Path(models.__file__).parent
WORDS = Path(__file__).with_name("shipping.toml")
THIRD_PARTIES = "# --- Third parties'."
"""The line of the manifest before which new networks of our own are entered."""
MOST_BYTES = 25_000_000
"""All shipped weights together: they lie in git."""
FIRST_VERSION = "1.0"

WANTED: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "face_detector": ("image", ("score", "box", "points")),
    "face_landmarks": ("faces", ("points", "presence_logit")),
    "frame_classifier": ("faces", ("fake_logit",)),
    "fake_segmenter": ("faces", ("fake_probability", "mask")),
    "face_embedding": ("faces", ("embedding",)),
    "landmark_flow": ("motion", ("fake_logit",)),
}
"""Input and outputs of each network, by which detection knows them."""
NUMBERS = frozenset({"landmark_flow"})
"""Networks that take float32 numbers around 0; all others take pictures as uint8."""
NUMBERS_DIVIDE_BY = 64.0

CANARY_STEPS = ((37, 29, 31, 17), (90, 3, 2, 60), (13, 1, 1, 85), (101, 5, 254, 40))
"""Inputs to choose from: the one that makes the outputs differ most among themselves is kept."""
CANARY_FREE = (2, 160, 192)
"""Length of the axes that the network leaves free: pictures, height, width."""
TOLERANCE, TOLERANCE_PX = 0.01, 0.05
"""Absolute. Runtimes on the CPU agree to a thousandth; a GPU that rounds to ten bits does not."""


class Fitted(BaseModel):
    """What is kept of the JSON that `workers.training.calibrate` writes."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    slope: float
    intercept: float
    clips: int
    groups: int
    real_clips: int
    fake_clips: int
    ece_after: float  # of lines fitted on other groups
    manipulated_from: float
    clear_below: float
    false_positives: int
    found: int  # fakes from `manipulated_from` on
    missed: int  # fakes below `clear_below`
    coverage: float  # share of all clips outside of the band between the two


class Words(BaseModel):
    """What is said of a network."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    what: str
    input: str
    output: str
    trained_on: str
    notice: str  # of those whose weights it started from
    caveat: str | None = None


def ship(
    run: Path,
    name: str,
    *,
    version: str | None = None,
    calibration: Calibration | None = None,
    words: Path = WORDS,
    folder: Path = MODELS,
) -> ManifestEntry:
    """
    Put the network of a finished run in place.

    Args:
        run: folder with `run.json` and the ONNX that it names.
        version: how findings will name it; the present one where the bytes are the same.
        calibration: of a network that gives log odds; without, it is not calibrated.
        folder: holds `manifest.toml`, and `weights`.

    Raises:
        Misconfigured: the run is no finished one of that network, other bytes were shipped under
            this version, or the shipped weights would grow too large together.
    """
    record = _record(run, name)
    said = _words(words, name)
    content = (run / record["onnx"]).read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    if digest != record["onnx_sha256"]:
        raise Misconfigured(f"{run / record['onnx']} is not the file that the run wrote")
    session = _session(content, name)
    if calibration is not None and "fake_logit" not in WANTED[name][1]:
        raise Misconfigured(f"{name} gives no log odds of manipulated: nothing to calibrate")
    manifest, weights = folder / "manifest.toml", folder / "weights"
    text = manifest.read_text(encoding="utf-8")
    before = parse_manifest(text)
    entry = ManifestEntry(
        name=name,
        version=_version(version, before.get(name), digest),
        file=f"{name}.onnx",
        sha256=digest,
        size_bytes=len(content),
        **said.model_dump(exclude={"notice"}),
        training=Training(
            recipe=record["task"],
            recipe_sha256=record["recipe_sha256"],
            code=record["code"],
            data_manifest_sha256=record["data_manifest_sha256"],
            seeds=(record["seed"],),
            seconds=record["seconds"],
            machine=record["machine"],
            card=f"docs/models/{name}.md",
        ),
        calibration=calibration,
        licence=_licence(words, said.notice),
        canary=_canary(session),
    )
    others = sum(e.size_bytes for n, e in before.items() if e.is_shipped and n != name)
    if others + len(content) > MOST_BYTES:
        raise Misconfigured(
            f"{name} has {len(content)} bytes and the other shipped networks {others}; together "
            f"they may have {MOST_BYTES}"
        )
    changed = _entered(text, entry)
    assert parse_manifest(changed)[name] == entry, "what was written must read as it was meant"
    put(content, weights / entry.file)
    put(changed.encode(), manifest)
    return entry


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m workers.training.ship",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of a finished run")
    parser.add_argument("--name", choices=sorted(WANTED), required=True)
    parser.add_argument("--version", help="needed where other bytes were shipped before")
    parser.add_argument("--calibration", type=Path, help="JSON of workers.training.calibrate")
    parser.add_argument("--words", type=Path, default=WORDS, help="TOML of what is said of it")
    parser.add_argument("--models", type=Path, default=MODELS, help="where the manifest lies")
    given = parser.parse_args(arguments)
    try:
        calibration = read_calibration(given.calibration) if given.calibration else None
        entry = ship(
            given.run,
            given.name,
            version=given.version,
            calibration=calibration,
            words=given.words,
            folder=given.models,
        )
    except ServiceError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"{entry.versioned_name} is shipped: {entry.size_bytes} bytes, sha256:{entry.sha256}\n"
    )
    if calibration is not None:
        sys.stdout.write(
            "Now a policy of the classifier alone must draw the same lines in app/policies, under "
            f"a new version: manipulated_from={calibration.manipulated_from}, "
            f"clear_below={calibration.clear_below}, with {calibration.false_positives} false "
            f"positives of {calibration.real_clips} real clips; app/domain/policy.py names it.\n"
        )
    return 0


def _record(run: Path, name: str) -> dict[str, Any]:
    """Read the story of the run."""
    try:
        record: dict[str, Any] = json.loads((run / RUN_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise Misconfigured(f"{run} is no finished run: {error}") from error
    if record["network"] != name:
        raise Misconfigured(f"{run} made {record['network']}, not {name}")
    return record


def read_calibration(path: Path) -> Calibration:
    """Read what `workers.training.calibrate` wrote; keep what serving and people need."""
    try:
        fitted = Fitted.model_validate_json(path.read_text(encoding="utf-8"))
        return Calibration(
            slope=fitted.slope,
            intercept=fitted.intercept,
            clips=fitted.clips,
            groups=fitted.groups,
            manipulated_from=fitted.manipulated_from,
            clear_below=fitted.clear_below,
            false_positives=fitted.false_positives,
            real_clips=fitted.real_clips,
            ece=fitted.ece_after,
            words=f"{fitted.fake_clips} fakes and {fitted.real_clips} real clips of "
            f"{fitted.groups} groups that the network never saw: {fitted.found} fakes at the "
            f"operating point or above, {fitted.missed} below clear_below, {fitted.coverage:.0%} "
            "of all clips outside of the band between",
        )
    except (OSError, ValidationError) as error:
        raise Misconfigured(f"{path} is no calibration: {error}") from error


def _words(path: Path, name: str) -> Words:
    return Words.model_validate(tomllib.loads(path.read_text(encoding="utf-8"))[name])


def _licence(path: Path, notice: str) -> Licence:
    """Whatever the licence of the code, the data allow no commercial use."""
    said = tomllib.loads(path.read_text(encoding="utf-8"))["licence"]
    return Licence(name=said["name"], commercial_use=False, words=f"{said['words']} {notice}")


def _session(content: bytes, name: str) -> onnxruntime.InferenceSession:
    """Open the network, if it is what detection takes under this name."""
    try:
        check_self_contained(content)
    except OnnxFileError as error:
        raise Misconfigured(f"{name}: {error}") from error
    options = onnxruntime.SessionOptions()
    options.log_severity_level = QUIET
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    inputs = [(i.name, i.type) for i in session.get_inputs()]
    outputs = tuple(o.name for o in session.get_outputs())
    wanted_input, wanted_outputs = WANTED[name]
    word, wanted_type = (
        ("float32", "tensor(float)") if name in NUMBERS else ("uint8", "tensor(uint8)")
    )
    if inputs != [(wanted_input, wanted_type)] or outputs != wanted_outputs:
        raise Misconfigured(
            f"{name} must take {wanted_input} as {word} and give {list(wanted_outputs)}; "
            f"this one takes {inputs} and gives {list(outputs)}"
        )
    return session


def _version(asked: str | None, before: ManifestEntry | None, digest: str) -> str:
    if before is None:
        return asked or FIRST_VERSION
    version = asked or before.version
    if digest != before.sha256 and version == before.version:
        raise Misconfigured(
            f"{before.versioned_name} is shipped with other bytes; findings are stored under that "
            "name, so give another --version"
        )
    return version


def _canary(session: onnxruntime.InferenceSession) -> Canary:
    """Choose an input on which the answer tells something, and run the network on it."""
    (told,) = session.get_inputs()
    shape = tuple(
        size if isinstance(size, int) else free
        for size, free in zip(told.shape, (*CANARY_FREE, 3), strict=False)
    )
    is_picture = told.type == "tensor(uint8)"
    names = [o.name for o in session.get_outputs()]
    found: list[Canary] = []
    for steps in CANARY_STEPS:
        canary = Canary(
            input=told.name,
            shape=shape,
            dtype="uint8" if is_picture else "float32",
            divide_by=1.0 if is_picture else NUMBERS_DIVIDE_BY,
            steps=steps[: len(shape)],
            tolerance=TOLERANCE_PX if "points" in names else TOLERANCE,
            expected=(Expected(output=names[0], shape=(), mean=0.0, deviation=0.0),),
        )
        answers = session.run(None, {told.name: canary_input(canary)})
        if not all(np.isfinite(answer).all() for answer in answers):
            raise Misconfigured("the network answers with something that is not a number")
        expected = tuple(
            Expected(
                output=name,
                shape=answer.shape,
                mean=round(float(answer.mean(dtype=float)), 6),
                deviation=round(float(answer.std(dtype=float)), 6),
            )
            for name, answer in zip(names, answers, strict=True)
        )
        found.append(canary.model_copy(update={"expected": expected}))
    return max(found, key=lambda canary: min(e.deviation for e in canary.expected))


def _entered(text: str, entry: ManifestEntry) -> str:
    """Put an entry in the place of the one before, or after those of our own."""
    lines = text.splitlines(keepends=True)
    header = f"[models.{entry.name}]\n"
    if header in lines:
        start = lines.index(header)
        is_next = re.compile(rf"\[+models\.(?!{re.escape(entry.name)}[.\]])")
        following = (i for i in range(start, len(lines)) if is_next.match(lines[i]))
        end = next(following, len(lines))
        while end > start and (not lines[end - 1].strip() or lines[end - 1].startswith("#")):
            end -= 1  # comments stand before what they are about
    else:
        start = end = next(
            (i for i, line in enumerate(lines) if line.startswith(THIRD_PARTIES)), len(lines)
        )
    block = _toml(entry) if lines[end:] and not lines[end].strip() else f"{_toml(entry)}\n"
    return "".join([*lines[:start], block, *lines[end:]])


def _toml(entry: ManifestEntry) -> str:
    """Write an entry as the manifest has them: scalars first, then a table each."""
    table = f"models.{entry.name}"
    document = entry.model_dump(mode="json", exclude={"name"}, exclude_defaults=True)
    parts = {k: v for k, v in document.items() if isinstance(v, dict)}
    lines = [f"[{table}]", *_pairs((k, v) for k, v in document.items() if k not in parts)]
    for part, values in parts.items():
        lines += ["", f"[{table}.{part}]", *_pairs(values.items())]
    return "\n".join(lines) + "\n"


def _pairs(items: Iterable[tuple[str, Any]]) -> list[str]:
    return [f"{key} = {_value(value)}" for key, value in items]


def _value(value: Any) -> str:  # noqa: ANN401 - whatever JSON may hold
    if isinstance(value, list) and value and isinstance(value[0], dict):
        rows = (", ".join(_pairs(row.items())) for row in value)
        return "[\n" + "".join(f"  {{ {row} }},\n" for row in rows) + "]"
    if isinstance(value, list):
        return f"[{', '.join(map(_value, value))}]"
    return json.dumps(value, ensure_ascii=False)  # strings, numbers and booleans are spelt alike


if __name__ == "__main__":
    sys.exit(main())
