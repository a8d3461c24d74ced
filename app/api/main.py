"""What is the gateway made of? The composition root of the HTTP side."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from starlette.concurrency import run_in_threadpool

from app import log
from app.api import docs, documented, errors
from app.api.deps import Parts
from app.api.metrics import Meters
from app.api.middleware import EarlyAnswer, RequestContext
from app.api.routes import health, jobs, overlays, policy, reports, reruns, training_runs
from app.db.session import Database
from app.queue import Bell, CeleryBell, QueueName, SilentBell
from app.settings import Settings
from app.storage import BlobStore, LocalBlobStore

API_VERSION = "1.0"
"""Of the contract in the OpenAPI document; the program's own is in every verdict."""

_log = log.get(__name__)


class Gateway(FastAPI):
    """The application, with an OpenAPI document that tells of problems as they are sent."""

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI document."""
        document = super().openapi()
        documented.complete(document)
        return document


def create_app(
    settings: Settings,
    *,
    db: Database | None = None,
    bell: Bell | None = None,
    training_bell: Bell | None = None,
    store: BlobStore | None = None,
) -> FastAPI:
    """
    Build the gateway; what is not handed in is made as `settings` say, and closed at the end.

    The database must have its tables already. No connection is made here.
    """
    own_db = None if db else Database(settings.resolved_database_url)
    used_db = db or own_db
    assert used_db is not None
    used_store = store or LocalBlobStore(settings.blob_dir)
    used_bell = bell or _bell(settings, QueueName.DETECT)
    used_training_bell = training_bell or _bell(settings, QueueName.TRAIN)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if isinstance(used_store, LocalBlobStore) and (
            swept := await run_in_threadpool(used_store.sweep)
        ):
            _log.info("uploads.swept", files=swept)
        yield
        if own_db is not None:
            await run_in_threadpool(own_db.close)

    app = Gateway(
        title="deepverdict",
        summary="Were the faces in this video manipulated?",
        description=documented.DESCRIPTION,
        version=API_VERSION,
        docs_url=None,  # `docs.install` has a page that needs nothing from outside
        redoc_url=None,
        openapi_url="/openapi.json" if settings.api.docs else None,
        lifespan=lifespan,
        redirect_slashes=False,  # a redirect would take its host from the request
    )
    app.state.parts = Parts(
        settings=settings,
        db=used_db,
        bell=used_bell,
        training_bell=used_training_bell,
        store=used_store,
        meters=Meters(used_db),
    )
    errors.install(app)
    app.include_router(jobs.router)
    app.include_router(reports.router)
    app.include_router(overlays.router)
    app.include_router(reruns.router)
    app.include_router(policy.router)
    app.include_router(training_runs.router)
    app.include_router(health.router)
    if settings.api.docs:
        docs.install(app)
    app.add_middleware(RequestContext)
    app.add_middleware(EarlyAnswer)  # the outer one: answers for bugs come early, too
    return app


def _bell(settings: Settings, queue: QueueName) -> Bell:
    if settings.broker_url is None:
        return SilentBell()
    return CeleryBell(settings.broker_url.get_secret_value(), queue)
