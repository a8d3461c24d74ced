"""What may be set from outside? The only reader of the environment."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

Positive = Field(gt=0)


class Section(BaseModel):
    """A group of settings; unknown names are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class UploadLimits(Section):
    """What one request may bring."""

    max_bytes: Annotated[int, Positive] = 2 * 1024**3
    """Bytes of one upload; the stream is cut at this point."""
    min_bytes_per_s: Annotated[int, Field(ge=0)] = 16 * 1024
    """Least mean rate over a window of `stall_s`; slower clients get 408. 0 turns it off."""
    stall_s: Annotated[float, Positive] = 30.0
    """How long the rate may stay under the least before the upload is ended."""
    min_free_bytes: Annotated[int, Field(ge=0)] = 2 * 1024**3
    """Free disk that an upload must leave; below it the answer is 507."""


class MediaLimits(Section):
    """What a video may hold before it is rejected."""

    max_side_px: Annotated[int, Positive] = 8192
    """Longest side of a frame."""
    max_frame_px: Annotated[int, Positive] = 35_389_440
    """Pixels of one frame; 8192 x 4320."""
    min_side_px: Annotated[int, Positive] = 16
    """Shortest side of a frame."""
    max_rate_hz: Annotated[float, Positive] = 240.0
    """Frames a second that the container may claim."""
    max_duration_s: Annotated[float, Positive] = 4 * 3600.0
    """Length of a video; four hours."""
    max_frames: Annotated[int, Positive] = 500_000
    """Frames of a video."""
    max_streams: Annotated[int, Positive] = 16
    """Streams of a container: video, sound, subtitles, data."""
    decode_memory_bytes: Annotated[int, Positive] = 2 * 1024**3
    """Address space of the decoder process beyond what it holds once its libraries are loaded."""
    decode_timeout_s: Annotated[float, Positive] = 900.0
    """Wall time of the decoder process for one video."""


class AnalysisSettings(Section):
    """How closely to look."""

    max_kept_frames: Annotated[int, Positive] = 9000
    """Frames whose faces are followed; longer videos are sampled evenly down to this."""
    max_kept_rate_hz: Annotated[float, Positive] = 30.0
    """Faces are followed at no more than this rate."""
    max_work_side_px: Annotated[int, Positive] = 1920
    """Frames with a longer side are scaled down to this before faces are looked for."""
    samples_per_person: Annotated[int, Positive] = 16
    """Aligned crops a face track hands to the networks."""
    max_persons: Annotated[int, Positive] = 16
    """Persons examined, those longest on screen first."""
    threads: Annotated[int, Field(ge=0)] = 0
    """Threads a network may use; 0 lets the runtime choose."""
    trust_list: Path | None = None
    """Certificates, PEM, of those whose Content Credentials are trusted. Without, whoever signed a
    video is called unproven; none comes along and none is fetched."""


class FaceSettings(Section):
    """Who finds the faces."""

    detector: Literal["deepverdict", "yunet", "insightface"] = "deepverdict"
    """Our own network, which comes with the program, or one that was pulled. `insightface` runs
    SCRFD through the package of that name; its weights are for non-commercial research only."""
    detect_every: Annotated[int, Positive] = 10
    """Kept frames between two runs of the face detector; landmarks follow faces in between."""
    identity: Literal["deepverdict", "mobilefacenet", "none"] = "deepverdict"
    """Which network joins the faces of several shots into persons: our own, or one that was pulled.
    With `none`, or where the one chosen was not pulled, each face in each shot is a person."""


class ModelSettings(Section):
    """Where weights lie."""

    dir: Path | None = None
    """Where pulled weights are stored; `models` under `data_dir` unless given."""
    mirror: Path | None = None
    """A directory with the upstream files; `models pull` takes them from there."""


class LeaseSettings(Section):
    """How work of any kind is taken and kept."""

    lease_s: Annotated[float, Positive] = 30.0
    """Work whose worker was not heard of for so long is given to another."""
    poll_interval_s: Annotated[float, Positive] = 5.0
    """How often an idle worker looks for work without having been rung for."""
    reconcile_interval_s: Annotated[float, Positive] = 10.0
    """How often a worker looks for work that another one lost, or that nobody was rung for."""
    republish_after_s: Annotated[float, Positive] = 30.0
    """Work queued for so long without a doorbell is rung for again."""
    max_attempts: Annotated[int, Positive] = 3
    """Attempts before work is failed, or quarantined if each took down its worker."""
    retry_delay_s: Annotated[float, Field(ge=0)] = 5.0
    """Wait before the second attempt; doubled for each one after."""
    drain_grace_s: Annotated[float, Field(ge=0)] = 20.0
    """After SIGTERM running work has so long to end before it is handed back."""


class WorkerSettings(LeaseSettings):
    """How a worker takes and keeps jobs."""

    job_deadline_s: Annotated[float, Positive] = 1800.0
    """Wall time of one attempt; then its processes are killed."""
    allow_unsandboxed: bool = False
    """Decode even where the kernel refuses to take the network away. `/readyz` says so."""


class TrainingSettings(LeaseSettings):
    """How a trainer takes and keeps training runs, and where they lie."""

    sets_dir: Path | None = None
    """Data that runs may name, a file or a folder each; `sets` under `data_dir` unless given."""
    runs_dir: Path | None = None
    """One folder a run, with its checkpoints; `runs` under `data_dir` unless given. Trainers that
    are to go on with each other's runs share it."""
    niceness: Annotated[int, Field(ge=0, le=19)] = 10
    """How far training stands back for everything else on the machine."""


class ApiSettings(Section):
    """How the gateway answers."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port to listen on; 0 takes a free one."""
    public_url: str | None = None
    """Base of links in answers; without it links are paths."""
    docs: bool = True
    """Whether the OpenAPI document and its page are served."""
    page_size: Annotated[int, Field(gt=0, le=200)] = 50
    """Jobs on a page of a list, unless the caller asks for another number."""
    poll_after_s: Annotated[int, Positive] = 2
    """The Retry-After of an unfinished job."""


class Settings(BaseSettings):
    """Everything that may be set. Built once a process, by its entry point, then passed."""

    model_config = SettingsConfigDict(
        env_prefix="DEEPVERDICT_",
        env_nested_delimiter="__",
        env_file=".env",
        frozen=True,
        extra="forbid",
    )

    data_dir: Path = Path("data")
    """Root of everything a single machine keeps: blobs, models, the SQLite file."""
    database_url: SecretStr | None = None
    """`postgresql+psycopg://...`; a SQLite file under `data_dir` unless given."""
    broker_url: SecretStr | None = None
    """`redis://...`; without it workers find their work by polling the database."""
    log_format: Literal["json", "console"] = "console"
    """`json` is one object a line, for machines."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least level that is logged."""
    seed: int = 0
    """Seed of every random choice in an analysis; stored with the verdict."""

    upload: UploadLimits = UploadLimits()
    media: MediaLimits = MediaLimits()
    analysis: AnalysisSettings = AnalysisSettings()
    faces: FaceSettings = FaceSettings()
    models: ModelSettings = ModelSettings()
    worker: WorkerSettings = WorkerSettings()
    training: TrainingSettings = TrainingSettings()
    api: ApiSettings = ApiSettings()

    @property
    def resolved_database_url(self) -> str:
        """The database to speak to; has a password in it, so never logged."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{(self.data_dir / 'deepverdict.db').resolve()}"

    @property
    def blob_dir(self) -> Path:
        """Where uploaded videos lie."""
        return self.data_dir / "blobs"

    @property
    def models_dir(self) -> Path:
        """Where pulled weights lie."""
        return self.models.dir or self.data_dir / "models"

    @property
    def sets_dir(self) -> Path:
        """Where the data lie that training runs may name."""
        return self.training.sets_dir or self.data_dir / "sets"

    @property
    def runs_dir(self) -> Path:
        """Where training runs have their folders."""
        return self.training.runs_dir or self.data_dir / "runs"
