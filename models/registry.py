"""
Which networks are here, are they the ones that were pinned, and how is one run?

A weight is used only as the bytes whose SHA-256 was taken: it is read once, those bytes are hashed
and those bytes are given to the runtime. Swapping the file between check and use changes nothing,
and links are harmless, since nothing but the content counts.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal

from app.errors import ModelUnavailable
from models.manifest import ManifestEntry, shipped_manifest
from models.onnx_wire import OnnxFileError, check_self_contained

if TYPE_CHECKING:  # the status of models is asked where neither is installed
    import numpy as np
    import onnxruntime
    from numpy.typing import NDArray

Device = Literal["cpu", "cuda"]
PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
QUIET = 4  # ONNX Runtime's "fatal"; everything else it says comes back as an exception


class Presence(StrEnum):
    """Whether a weight may be used."""

    VERIFIED = "verified"
    MISSING = "missing"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelStatus:
    """What was found of one network."""

    name: str
    word: Presence
    detail: str  # "sha256:..." if verified, else what is wrong and what to do
    path: Path | None  # None where missing


class OnnxModel:
    """A network whose bytes were verified, ready to run."""

    def __init__(self, entry: ManifestEntry, session: "onnxruntime.InferenceSession") -> None:
        self.name = entry.name
        self.version = entry.version
        self.versioned_name = entry.versioned_name  # how findings name it
        self.sha256 = entry.sha256
        self.calibration = entry.calibration
        self.is_calibrated = entry.is_calibrated
        self.caveat = entry.caveat
        self.input_names: tuple[str, ...] = tuple(i.name for i in session.get_inputs())
        self.output_names: tuple[str, ...] = tuple(o.name for o in session.get_outputs())
        self._session = session

    def run(self, inputs: "Mapping[str, NDArray[np.generic]]") -> "list[NDArray[np.generic]]":
        """Run once; gives the outputs in the order of `output_names`."""
        outputs: list[NDArray[np.generic]] = self._session.run(None, dict(inputs))
        return outputs


class Registry:
    """
    The networks of a manifest, looked for in two folders: shipped with the program, and pulled.

    Args:
        shipped_dir: weights that came with the program.
        pulled_dir: where `models.pull` puts third-party weights; need not exist.
        threads: that one network may use; 0 lets the runtime choose.
        device: where networks run. With "cuda", a runtime that falls back to the CPU is refused.
        manifest: the entries; those that came with the program unless given.
        promoted: entries that take the place of those of their names; their files lie in
            `pulled_dir`.
    """

    def __init__(
        self,
        *,
        shipped_dir: Path,
        pulled_dir: Path,
        threads: int = 0,
        device: Device = "cpu",
        manifest: Mapping[str, ManifestEntry] | None = None,
        promoted: Sequence[ManifestEntry] = (),
    ) -> None:
        self.shipped_dir = shipped_dir
        self.pulled_dir = pulled_dir
        self.device: Device = device
        self._threads = threads
        self._promoted = {entry.name: entry for entry in promoted}
        along = shipped_manifest() if manifest is None else manifest
        self._manifest = {**along, **self._promoted}

    def entries(self) -> tuple[ManifestEntry, ...]:
        """List what the manifest has, by name."""
        return tuple(self._manifest[name] for name in sorted(self._manifest))

    def entry(self, name: str) -> ManifestEntry:
        """Look up one network; raises ModelUnavailable where the manifest has none such."""
        if name not in self._manifest:
            raise ModelUnavailable(f"no model {name!r}; the manifest has {sorted(self._manifest)}")
        return self._manifest[name]

    def status(self, name: str) -> ModelStatus:
        """Look for a weight and hash it. Never raises for a weight that is not there."""
        return self._find(self.entry(name))[0]

    def read(self, name: str) -> bytes:
        """Return the verified bytes; raises ModelUnavailable with both digests, and what to do."""
        status, content = self._find(self.entry(name))
        if content is None:
            raise ModelUnavailable(f"{name}: {status.detail}")
        return content

    def load(self, name: str) -> OnnxModel:
        """
        Return the network, ready to run, once it has answered its canary as expected.

        Raises:
            ModelUnavailable: missing, other bytes than were pinned, a tensor outside of the file,
                a runtime that fell back to another device, or another answer than was stored.
        """
        return self.open(self.entry(name), self.read(name))

    def open(self, entry: ManifestEntry, content: bytes) -> OnnxModel:
        """Do as `load` with verified bytes that need not lie anywhere yet."""
        name = entry.name
        try:
            check_self_contained(content)
        except OnnxFileError as error:
            raise ModelUnavailable(f"{name} (sha256:{entry.sha256}): {error}") from error
        model = OnnxModel(entry, self._session(entry, content))
        # Both need arrays, which whoever only asks for the status may not have.
        from models.canary import differences  # noqa: PLC0415

        if found := differences(entry.canary, model.output_names, model.run):
            raise ModelUnavailable(
                f"{name} (sha256:{entry.sha256}) does not answer its canary as stored: "
                f"{'; '.join(found)}"
            )
        return model

    def _session(self, entry: ManifestEntry, content: bytes) -> "onnxruntime.InferenceSession":
        # Heavy, and absent where only the status is asked.
        import onnxruntime  # noqa: PLC0415
        from onnxruntime.capi import onnxruntime_pybind11_state as capi  # noqa: PLC0415

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.log_severity_level = QUIET
        # Threads that spin while they wait take the cores from the decoder and the other networks.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        provider = PROVIDERS[self.device]
        if provider not in (offered := onnxruntime.get_available_providers()):
            raise self._no_device(entry, offered)
        try:
            session = onnxruntime.InferenceSession(content, options, providers=[provider])
        except _errors_of(capi) as error:
            raise ModelUnavailable(
                f"{entry.name} (sha256:{entry.sha256}) cannot be opened: {error}"
            ) from error
        # Asked for CUDA where there is none, ONNX Runtime runs on the CPU and does not say so.
        if provider not in session.get_providers():
            raise self._no_device(entry, session.get_providers())
        return session

    def _no_device(self, entry: ManifestEntry, offered: Sequence[str]) -> ModelUnavailable:
        return ModelUnavailable(
            f"{entry.name}: wanted to run on {self.device}, the runtime offers {list(offered)}; "
            "install onnxruntime-gpu and the CUDA libraries, or run on the CPU"
        )

    def _find(self, entry: ManifestEntry) -> tuple[ModelStatus, bytes | None]:
        wrong: ModelStatus | None = None
        for folder in (self.shipped_dir, self.pulled_dir):
            path = folder / entry.file
            if not path.is_file():
                continue
            try:
                with path.open("rb") as file:
                    # One byte more than wanted tells a longer file without reading all of it.
                    content = file.read(entry.size_bytes + 1)
            except OSError as error:
                detail = f"mismatch: {path} cannot be read: {error}"
                wrong = _status(entry, Presence.MISMATCH, detail, path)
                continue
            found = hashlib.sha256(content).hexdigest()
            if found == entry.sha256:
                return _status(entry, Presence.VERIFIED, f"sha256:{found}", path), content
            is_longer = len(content) > entry.size_bytes  # then the digest is of its start
            detail = (
                f"mismatch: {path} is sha256:{found}{' and longer' if is_longer else ''}, the "
                f"manifest pins sha256:{entry.sha256} ({entry.size_bytes} bytes); remove the file "
                f"and {self._remedy(entry)}"
            )
            wrong = _status(entry, Presence.MISMATCH, detail, path)
        if wrong is not None:
            return wrong, None
        return _status(entry, Presence.MISSING, f"missing: {self._remedy(entry)}", None), None

    def _remedy(self, entry: ManifestEntry) -> str:
        """Say how the right bytes get into place."""
        if entry.name in self._promoted:
            return (
                "promote its package again with `deepverdict models promote DIR`, or go back with "
                f"`deepverdict models rollback {entry.name}`"
            )
        if entry.is_shipped:
            path = self.shipped_dir / entry.file
            return f"put {path} back, from the repository or by installing this version anew"
        return f"run `deepverdict models pull {entry.name}`"


def verify(registry: Registry) -> tuple[ModelStatus, ...]:
    """Look for and hash every network of the manifest, by name."""
    return tuple(registry.status(entry.name) for entry in registry.entries())


def _errors_of(runtime: ModuleType) -> tuple[type[Exception], ...]:
    """List the runtime's own exceptions, which share no base, and those of its bindings."""
    own = (v for v in vars(runtime).values() if isinstance(v, type) and issubclass(v, Exception))
    return (*own, RuntimeError, ValueError)


def _status(entry: ManifestEntry, word: Presence, detail: str, path: Path | None) -> ModelStatus:
    return ModelStatus(name=entry.name, word=word, detail=detail, path=path)
