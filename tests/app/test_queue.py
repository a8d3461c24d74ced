"""Does the doorbell reach a real broker, and does a dead one cost no more than a moment?"""

import json
import socket
import subprocess
import sys
import time
from base64 import b64decode
from pathlib import Path

import pytest

from app.queue import PUBLISH_S, CeleryBell, SilentBell, celery_settings


@pytest.fixture
def bell_of():
    bells = []

    def make(url: str) -> CeleryBell:
        bells.append(CeleryBell(url))
        return bells[-1]

    yield make
    for bell in bells:
        bell.close()


def test_a_ring_is_one_json_message_that_names_the_task(redis_url, redis_server, bell_of):
    assert bell_of(redis_url).ring("job-1")

    with redis_server.client() as client:
        (raw,) = client.lrange("detect", 0, -1)
    message = json.loads(raw)
    assert message["headers"]["task"] == "deepverdict.detect"
    assert message["content-type"] == "application/json"
    _, kwargs, _ = json.loads(b64decode(message["body"]))
    assert kwargs == {"job_id": "job-1"}


def test_a_ring_that_nobody_can_hear_says_so_at_once(bell_of, free_port_url):
    started_s = time.monotonic()

    assert not bell_of(free_port_url).ring("job-1")
    assert time.monotonic() - started_s < 2 * PUBLISH_S


@pytest.fixture
def free_port_url() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"redis://127.0.0.1:{probe.getsockname()[1]}/0"


def test_a_broker_that_takes_the_connection_and_never_answers_costs_a_moment(bell_of):
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(16)
        bell = bell_of(f"redis://127.0.0.1:{hole.getsockname()[1]}/0")
        started_s = time.monotonic()

        assert not bell.ring("job-1")
        assert time.monotonic() - started_s < 4 * PUBLISH_S


def test_the_bell_rings_again_once_the_broker_is_back(redis_url, redis_server, bell_of):
    bell = bell_of(redis_url)
    assert bell.ring("job-1")
    redis_server.kill()
    assert not bell.ring("job-2")

    redis_server.start()

    assert bell.ring("job-3")


def test_a_broker_without_memory_is_a_lost_ring_and_no_error(redis_url, redis_server, bell_of):
    with redis_server.client() as client:
        client.config_set("maxmemory", "1")
        try:
            assert not bell_of(redis_url).ring("job-1")
        finally:
            client.config_set("maxmemory", "0")


def test_a_broker_that_wants_a_password_is_a_lost_ring_and_no_error(
    redis_url, redis_server, bell_of
):
    with redis_server.client() as client:
        client.config_set("requirepass", "secret")
        try:
            assert not bell_of(redis_url).ring("job-1")
        finally:
            client.execute_command("AUTH", "secret")
            client.config_set("requirepass", "")


def test_without_a_broker_nobody_is_told():
    assert not SilentBell().ring("job-1")


def test_nothing_on_the_wire_is_unpickled_and_no_result_is_kept():
    settings = celery_settings("redis://127.0.0.1/0")

    assert settings["accept_content"] == ["json"]
    assert settings["result_backend"] is None


def test_other_brokers_are_given_no_options_of_redis():
    settings = celery_settings("amqp://127.0.0.1//")

    assert settings["broker_transport_options"] == {"confirm_publish": True}
    assert settings["worker_disable_prefetch"] is False


def test_the_producer_does_not_load_the_consumer():
    program = "import sys, app.queue; sys.exit(bool({'celery.worker', 'workers'} & {*sys.modules}))"
    root = Path(__file__).parents[2]

    assert subprocess.run([sys.executable, "-c", program], cwd=root, check=False).returncode == 0
