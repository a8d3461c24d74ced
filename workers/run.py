"""What is one worker, as a process? What takes jobs off the queue `detect` and judges videos."""

from app.db.session import Database
from app.queue import Bell, QueueName
from app.settings import Settings
from app.storage import LocalBlobStore
from app.version import code_version
from workers.inference import InferenceProcess
from workers.process import live
from workers.supervisor import Supervisor

ANALYZER = "workers.kit:build_analyzer"


def run(settings: Settings, analyzer: str = ANALYZER) -> int:
    """
    Take jobs until SIGTERM or SIGINT; return the exit status.

    Args:
        analyzer: `package.module:function` that builds the analyses in the inference process;
            networks and codecs are loaded there and never here.

    Raises:
        OperatorMustAct: the inference process refuses to start, with its words.
    """

    def supervisor(db: Database, bell: Bell, worker: str) -> Supervisor:
        return Supervisor(
            db=db,
            store=LocalBlobStore(settings.blob_dir),
            bell=bell,
            inference=InferenceProcess(factory=analyzer, settings=settings),
            limits=settings.worker,
            worker=worker,
            code=code_version(),
        )

    return live(settings, QueueName.DETECT, supervisor)
