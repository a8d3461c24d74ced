"""Workers are killed at random under a running service: nothing acknowledged is lost or doubled."""

import os
import sys
from pathlib import Path

from bench.chaos import Fleet, storm
from tests.workers.analyzers import video

SEED = int(os.environ.get("SEED", "20261121"))
JOBS = 20
KILLS = 8
KILL_EVERY_S = (0.7, 2.0)  # starting a worker takes as long
AS_TOLD = (sys.executable, "-m", "tests.workers.process", "tests.workers.analyzers:as_told")


def test_no_acknowledged_job_is_lost_and_none_is_judged_twice_while_workers_are_killed(
    tmp_path: Path, postgres_url: str, redis_url: str
):
    print(f"SEED={SEED}")
    videos = [video(sleeps_s=1.0, number=number) for number in range(JOBS)]
    with Fleet(
        tmp_path,
        database_url=postgres_url,
        broker_url=redis_url,
        workers=3,
        worker_command=AS_TOLD,
        extra={"DEEPVERDICT_UPLOAD__MIN_FREE_BYTES": "0"},
    ) as fleet:
        tally = storm(fleet, videos, kills=KILLS, seed=SEED, kill_every_s=KILL_EVERY_S)
    print(tally)

    assert JOBS == tally.acknowledged == tally.finished
    assert tally.lost == ()
    assert (tally.duplicated, tally.unexpected, tally.impossible) == (0, 0, ())
    assert tally.kills == KILLS
    assert tally.interrupted > 0  # or it was no test
