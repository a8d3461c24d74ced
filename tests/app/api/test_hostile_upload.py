"""What do clients get that lie, stall, vanish or flood? These speak HTTP by hand, over sockets."""

import json
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import httpx
import psutil
import pytest

from app.api.main import create_app
from app.api.server import configure
from app.settings import ApiSettings, Settings, UploadLimits
from tests.app.api.conftest import Kitchen, Service, wait_until
from tests.app.api.videos import isom

MIB = 1024 * 1024
SMALL = UploadLimits(max_bytes=MIB, min_free_bytes=0)
HURRIED = UploadLimits(min_free_bytes=0, min_bytes_per_s=10_000, stall_s=0.4)


def head(service: Service, *lines: str, key: bool = True, path: str = "/v1/jobs") -> bytes:
    """Spell a POST by hand."""
    authorization = [f"Authorization: {service.key()['Authorization']}"] if key else []
    all_lines = [f"POST {path} HTTP/1.1", "Host: x", *authorization, *lines, "", ""]
    return "\r\n".join(all_lines).encode()


@contextmanager
def connected(service: Service) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", service.port), timeout=10) as peer:
        yield peer


def read_answer(peer: socket.socket) -> tuple[int, dict[str, str], bytes]:
    """Read one answer to its end, or to the end of the connection."""
    data = b""
    while b"\r\n\r\n" not in data and (piece := peer.recv(65536)):
        data += piece
    top, _, body = data.partition(b"\r\n\r\n")
    first, *lines = top.decode().split("\r\n")
    headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in lines)}
    while len(body) < int(headers.get("content-length", 0)) and (piece := peer.recv(65536)):
        body += piece
    return int(first.split()[1]), headers, body


def slug(body: bytes) -> str:
    found: str = json.loads(body)["type"].rsplit(":", 1)[-1]
    return found


def _takes(peer: socket.socket, data: bytes) -> bool:
    try:
        peer.sendall(data)
    except ConnectionError:
        return False
    return True


def still_works(service: Service) -> bool:
    with service.client(service.key()) as desk:
        answer = desk.post("/v1/jobs", content=isom(5000), headers={"Content-Type": "video/mp4"})
    return answer.status_code == 202


def test_a_length_over_the_cap_is_refused_before_any_of_the_body_is_asked_for(
    kitchen: Kitchen,
) -> None:
    service = kitchen.serve(upload=SMALL)
    with connected(service) as peer:
        peer.sendall(
            head(
                service,
                "Content-Type: video/mp4",
                "Content-Length: 3000000000",
                "Expect: 100-continue",
            )
        )
        status, headers, body = read_answer(peer)

        assert status == 413  # and not 100
        assert slug(body) == "too-large"
        assert headers["connection"] == "close"
    assert service.files() == []
    assert still_works(service)


def test_without_a_key_no_byte_of_the_body_is_asked_for(service: Service) -> None:
    with connected(service) as peer:
        lines = ("Content-Type: video/mp4", "Content-Length: 99", "Expect: 100-continue")
        peer.sendall(head(service, *lines, key=False))
        status, headers, body = read_answer(peer)

    assert status == 401
    assert slug(body) == "unauthenticated"
    assert headers["www-authenticate"].startswith("Bearer")
    assert headers["connection"] == "close"


def test_a_chunked_flood_is_cut_at_the_cap_and_its_sender_hears_why(kitchen: Kitchen) -> None:
    service = kitchen.serve(upload=SMALL)
    chunk = isom(64 * 1024)
    with connected(service) as peer:
        peer.sendall(head(service, "Content-Type: video/mp4", "Transfer-Encoding: chunked"))
        for _ in range(64):  # four times the cap, and no end
            peer.sendall(b"10000\r\n" + chunk + b"\r\n")
        status, headers, body = read_answer(peer)

    assert status == 413
    assert slug(body) == "too-large"
    assert headers["connection"] == "close"
    assert service.files() == []
    assert service.bell.rung == []


def test_a_refused_sender_that_goes_on_is_cut_off(kitchen: Kitchen) -> None:
    service = kitchen.serve(upload=SMALL)
    with connected(service) as peer:
        peer.sendall(head(service, "Content-Type: video/mp4", "Content-Length: 3000000000"))
        read_answer(peer)

        wait_until(lambda: not _takes(peer, bytes(1024)))


@pytest.mark.parametrize("bytes_sent", [0, 1, 20_000, 700_000])
@pytest.mark.parametrize("how", ["length", "chunked", "form"])
def test_a_client_that_vanishes_midway_leaves_nothing(
    service: Service, bytes_sent: int, how: str
) -> None:
    lines = {
        "length": ["Content-Type: video/mp4", "Content-Length: 10000000"],
        "chunked": ["Content-Type: video/mp4", "Transfer-Encoding: chunked"],
        "form": ["Content-Type: multipart/form-data; boundary=x", "Content-Length: 10000000"],
    }[how]
    before = {
        "length": b"",
        "chunked": b"f4240\r\n",
        "form": b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.mp4"\r\n\r\n',
    }[how]
    with connected(service) as peer:
        peer.sendall(head(service, *lines) + before + isom(MIB)[:bytes_sent])
        if bytes_sent > MIB / 2:
            wait_until(lambda: service.files() != [])

    wait_until(lambda: _refused(service, "upload-interrupted") == 1)
    assert service.files() == []
    assert service.bell.rung == []
    assert still_works(service)


def _refused(service: Service, problem: str) -> float:
    with service.client() as client:
        lines = client.get("/metrics").text.splitlines()
    name = f'deepverdict_upload_rejected_total{{problem="{problem}"}} '
    return next((float(n.removeprefix(name)) for n in lines if n.startswith(name)), 0.0)


def test_a_form_that_ends_before_its_closing_boundary_leaves_nothing(service: Service) -> None:
    body = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.mp4"\r\n\r\n' + isom()
    lines = ("Content-Type: multipart/form-data; boundary=x", f"Content-Length: {len(body)}")
    with connected(service) as peer:
        peer.sendall(head(service, *lines) + body)
        status, _, answer = read_answer(peer)

    assert status == 400
    assert slug(answer) == "bad-multipart"
    assert service.files() == []


def test_a_drip_is_ended(kitchen: Kitchen) -> None:
    service = kitchen.serve(upload=HURRIED)
    video = isom()
    with connected(service) as peer:
        peer.sendall(head(service, "Content-Type: video/mp4", f"Content-Length: {len(video)}"))
        peer.sendall(video[:100_000])  # a good beginning is no licence
        began = time.monotonic()
        peer.settimeout(0.05)
        answer = None
        for byte in video[100_000:]:
            peer.sendall(bytes([byte]))
            try:
                answer = read_answer(peer)
                break
            except TimeoutError:
                assert time.monotonic() < began + 10

    assert answer is not None
    assert answer[0] == 408
    assert slug(answer[2]) == "request-timeout"
    assert service.files() == []


def test_silence_is_ended_even_where_any_rate_is_allowed(kitchen: Kitchen) -> None:
    limits = HURRIED.model_copy(update={"min_bytes_per_s": 0})
    service = kitchen.serve(upload=limits)
    with connected(service) as peer:
        peer.sendall(head(service, "Content-Type: video/mp4", "Content-Length: 10000"))
        peer.sendall(isom()[:1000])
        status, headers, body = read_answer(peer)

    assert status == 408
    assert slug(body) == "request-timeout"
    assert headers["connection"] == "close"


def test_many_drips_do_not_keep_others_out(service: Service) -> None:
    peers = [socket.create_connection(("127.0.0.1", service.port), timeout=10) for _ in range(200)]
    try:
        request = head(service, "Content-Type: video/mp4", "Content-Length: 10000000")
        for peer in peers:
            peer.sendall(request + isom()[:100])

        assert still_works(service)
    finally:
        for peer in peers:
            peer.close()


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: 5", "Content-Length: 6"),
        ("Content-Length: 5", "Transfer-Encoding: chunked"),
        ("Content-Length: 99999999999999999999999999",),
        ("Content-Length: 0x10",),
        ("Transfer-Encoding: gzip, chunked",),
    ],
    ids=str,
)
def test_a_body_whose_length_is_in_doubt_never_becomes_a_job(
    service: Service, lines: tuple[str, ...]
) -> None:
    with connected(service) as peer:
        peer.sendall(head(service, "Content-Type: video/mp4", *lines) + b"5\r\nhello\r\n0\r\n\r\n")
        status, _, _ = read_answer(peer)

        assert status in (400, 413, 501)
    assert service.files() == []
    assert service.bell.rung == []
    assert still_works(service)


@pytest.mark.parametrize(
    "body",
    [
        b"\r\n" * 5_000_000,
        b"--x\r\n" + b"X-A: b\r\n" * 100_000,
        b"--x\r\nX-A: " + b"a" * 10_000_000,
        b'--x\r\nContent-Disposition: form-data; name="a"\r\n\r\n' + b"a" * 10_000_000,
    ],
    ids=["preamble", "headers", "header", "field"],
)
def test_a_bloated_form_costs_little_and_is_turned_away(service: Service, body: bytes) -> None:
    process = psutil.Process()
    began_s = sum(process.cpu_times()[:2])
    with service.client(service.key()) as desk:
        answer = desk.post(
            "/v1/jobs",
            content=body,
            headers={"Content-Type": "multipart/form-data; boundary=x"},
        )

    assert answer.status_code == 400
    assert slug(answer.content) == "bad-multipart"
    assert sum(process.cpu_times()[:2]) - began_s < 1.0


def test_log_lines_cannot_be_forged_and_hold_no_secret(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    key = service.key()
    forged = 'a\n{"level": "admin"}'
    with service.client(key) as desk:
        desk.post("/v1/jobs", files={"file": (forged, isom(), "video/mp4")}, data={"ref_id": "r"})
        desk.get("/v1/jobs/%0a%7b%22level%22%3a%22admin%22%7d", headers={"X-Request-Id": "{}"})
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("app.")]

    assert {"job.submitted", "request.answered"} <= {json.loads(line)["event"] for line in lines}
    assert not any("\n" in line for line in lines)
    assert not any(key["Authorization"][7:] in r.getMessage() for r in caplog.records)
    assert not any("ref_id" in line or "admin.mp4" in line for line in lines)


def _serve_alone(data_dir: str, database_url: str, tell: Connection) -> None:
    """Run a gateway in a process of its own, as production does."""
    import uvicorn

    settings = Settings(
        _env_file=None,
        data_dir=Path(data_dir),
        database_url=database_url,
        upload=UploadLimits(min_free_bytes=0),
        api=ApiSettings(port=0),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    tell.send(listener.getsockname()[1])
    uvicorn.Server(configure(create_app(settings), settings)).run(sockets=[listener])


def test_a_large_video_is_never_held_in_memory(
    service: Service, sqlite_url: str, tmp_path: Path
) -> None:
    size = 300 * MIB
    block = isom(MIB)
    told, tell = multiprocessing.Pipe(duplex=False)
    spawn = multiprocessing.get_context("spawn")
    process = spawn.Process(target=_serve_alone, args=(str(tmp_path / "own"), sqlite_url, tell))
    process.start()
    try:
        url = f"http://127.0.0.1:{told.recv()}"
        own = psutil.Process(process.pid)
        peak = 0

        def blocks() -> Iterator[bytes]:
            nonlocal peak
            for _ in range(size // MIB):
                yield block
                peak = max(peak, own.memory_info().rss)

        with httpx.Client(base_url=url, headers=service.key(), timeout=60) as desk:
            video = {"Content-Type": "video/mp4"}
            assert desk.post("/v1/jobs", content=isom(5000), headers=video).status_code == 202
            before = own.memory_info().rss
            began = time.monotonic()
            answer = desk.post("/v1/jobs", content=blocks(), headers=video)
            took_s = time.monotonic() - began
    finally:
        process.terminate()
        process.join(20)
        told.close()
        tell.close()

    print(f"{size / MIB / took_s:.0f} MiB/s, {(peak - before) / MIB:.1f} MiB more at the peak")
    assert answer.status_code == 202
    assert answer.json()["size_bytes"] == size
    assert peak - before < 64 * MIB
    assert list((tmp_path / "own" / "blobs" / "incoming").iterdir()) == []
