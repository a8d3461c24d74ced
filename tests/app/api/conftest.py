"""What do tests of the gateway stand on? The application, behind a real server on a real socket."""

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
import structlog
import uvicorn
from fastapi import FastAPI

from app.api.main import create_app
from app.api.server import configure
from app.db.session import Database
from app.domain.access import Scope
from app.domain.evidence import Analysis
from app.domain.job import Claim, Priority
from app.domain.verdict import Verdict
from app.services import jobs, keys, leases, training_leases, training_runs
from app.settings import ApiSettings, Settings, UploadLimits
from app.storage import LocalBlobStore
from tests.fakes import RecordingBell
from tests.make import TENANT, make_analysis, make_verdict
from tests.make_runs import make_news, make_plan

STARTS_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A gateway that listens, and what lies behind it."""

    app: FastAPI
    url: str
    port: int
    db: Database
    store: LocalBlobStore
    bell: RecordingBell
    training_bell: RecordingBell
    settings: Settings

    def key(self, *scopes: Scope, tenant: str = TENANT) -> Mapping[str, str]:
        """Make a key with these scopes, or with all; return the header that bears it."""
        made = keys.create(self.db, tenant=tenant, name="test", scopes=scopes or list(Scope))
        return {"Authorization": f"Bearer {made.secret}"}

    def client(self, headers: Mapping[str, str] | None = None) -> httpx.Client:
        """Make a client without retries; close it."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=20)

    def files(self) -> list[Path]:
        """List every file of the store, finished or not."""
        return [p for p in self.settings.blob_dir.rglob("*") if p.is_file()]

    def queued(
        self,
        tenant: str = TENANT,
        *,
        ref_id: str | None = None,
        priority: Priority = Priority.BATCH,
    ) -> str:
        """Submit a job behind the gateway's back; return its id."""
        writer = self.store.begin()
        writer.write(b"a video")
        job = jobs.submit(
            self.db,
            self.bell,
            tenant=tenant,
            blob=writer.commit(),
            ref_id=ref_id,
            file_name=None,
            priority=priority,
        )
        return job.id

    def claimed(self) -> Claim:
        """Take the next job as a worker would."""
        claim = leases.claim(self.db, worker="w1", limits=self.settings.worker)
        assert claim is not None
        return claim

    def training(self, tenant: str = TENANT) -> str:
        """Have a run train with one line of metrics and one preview; return its id."""
        run = training_runs.submit(
            self.db, self.training_bell, tenant=tenant, name=None, plan=make_plan()
        )
        claim = training_leases.claim(self.db, trainer="t1", limits=self.settings.training)
        assert claim is not None
        assert claim.run_id == run.id
        assert training_leases.heartbeat(self.db, claim, lease_s=30, news=make_news(step=20))
        return run.id

    def succeeded(
        self,
        tenant: str = TENANT,
        *,
        analysis: Analysis | None = None,
        verdict: Verdict | None = None,
    ) -> str:
        """Submit a live job and conclude it as a worker would; return its id."""
        job_id = self.queued(tenant, priority=Priority.LIVE)
        claim = self.claimed()
        assert claim.job_id == job_id
        assert leases.conclude(
            self.db, claim, analysis or make_analysis(), verdict or make_verdict()
        )
        return job_id


def filled(path: str, row_id: str, **others: str) -> str:
    """Put an id, whatever it is the id of, into the path of a route."""
    places = ("job_id", "rerun_id", "run_id")
    parts = {
        "mask_id": "p1-000126",
        "attention_id": "p1-attention-000126",
        "frame_id": "p1-frame-000126",
        "person_id": "p1",
        "step": "20",
    }
    return path.format(**{**dict.fromkeys(places, row_id), **parts, **others})


class QuickServer(uvicorn.Server):
    """Stops within milliseconds; the real one looks ten times a second whether it should."""

    async def main_loop(self) -> None:
        """Run until told to stop."""
        while not self.should_exit:  # noqa: ASYNC110 - a plain flag, set by another thread
            await asyncio.sleep(0.005)


@dataclass(slots=True)
class Kitchen:
    """Starts services; stops them all at the end."""

    database_url: str
    data_dir: Path
    running: list[tuple[uvicorn.Server, threading.Thread, Database]] = field(default_factory=list)

    def serve(
        self, *, upload: UploadLimits | None = None, api: ApiSettings | None = None
    ) -> Service:
        """Start a gateway with these settings."""
        settings = Settings(
            _env_file=None,
            data_dir=self.data_dir,
            upload=upload or UploadLimits(min_free_bytes=0),
            api=api or ApiSettings(port=0),
        )
        db = Database(self.database_url)
        store = LocalBlobStore(settings.blob_dir)
        bell, training_bell = RecordingBell(), RecordingBell()
        app = create_app(settings, db=db, bell=bell, training_bell=training_bell, store=store)
        server = QuickServer(configure(app, settings))
        thread = threading.Thread(target=server.run, daemon=True)
        thread.start()
        self.running.append((server, thread, db))
        wait_until(lambda: server.started)
        port: int = server.servers[0].sockets[0].getsockname()[1]
        return Service(
            app=app,
            url=f"http://127.0.0.1:{port}",
            port=port,
            db=db,
            store=store,
            bell=bell,
            training_bell=training_bell,
            settings=settings,
        )

    def close(self) -> None:
        """Stop everything that was started."""
        for server, thread, db in self.running:
            server.should_exit = True
            thread.join(timeout=STARTS_WITHIN_S)
            db.close()
        alive = [t for _, t, _ in self.running if t.is_alive()]
        assert alive == []


def wait_until(is_so: Callable[[], bool], *, within_s: float = STARTS_WITHIN_S) -> None:
    """Poll until `is_so`; fail the test if it never is."""
    deadline = time.monotonic() + within_s
    while not is_so():
        assert time.monotonic() < deadline, f"not so within {within_s} s"
        time.sleep(0.01)


@contextlib.contextmanager
def _kitchen(database_url: str, tmp_path: Path) -> Iterator[Kitchen]:
    made = Kitchen(database_url, tmp_path / "data")
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(autouse=True)
def _log_is_captured() -> Iterator[None]:
    """Log through the standard library, where pytest keeps it for tests that fail."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
    )
    yield
    structlog.reset_defaults()


@pytest.fixture
def kitchen(sqlite_url: str, tmp_path: Path) -> Iterator[Kitchen]:
    """Start gateways over SQLite with settings of the test's own."""
    with _kitchen(sqlite_url, tmp_path) as made:
        yield made


@pytest.fixture
def service(kitchen: Kitchen) -> Service:
    """A gateway over SQLite."""
    return kitchen.serve()


@pytest.fixture
def either_service(database_url: str, tmp_path: Path) -> Iterator[Service]:
    """A gateway over each kind of database in turn."""
    with _kitchen(database_url, tmp_path) as made:
        yield made.serve()


@pytest.fixture
def desk(service: Service) -> Iterator[httpx.Client]:
    """A client of `service` with every scope, of the tenant that `make` speaks of."""
    with service.client(service.key()) as client:
        yield client
