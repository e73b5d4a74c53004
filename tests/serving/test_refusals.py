"""What a server refuses, how cheaply, and that it goes on: each line of docs/security.md has its test here."""

import base64
import json
import struct
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from alexnet.serving.gate import Gate
from served import Served, encoded, everything, header

NOTHING = b"nothing of this is read"


def status(answer: bytes) -> int:
    """The status of a raw answer."""
    return int(answer.split()[1])


def wide_png(side: int) -> bytes:
    """A small PNG whose header says side x side pixels, and whose data unpacks to a hundred rows of them."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", head)
        + chunk(b"IDAT", zlib.compress(bytes(100 * side)))
        + chunk(b"IEND", b"")
    )


def memory(process: int) -> int:
    """Bytes that a process has held at most."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_a_body_that_is_too_long_by_its_header_is_refused_before_it_is_sent(server: Served) -> None:
    answer = server.raw(header("/predict", 200_001))
    assert status(answer) == 413
    assert b"connection: close" in answer.lower()
    assert b"at most 200,000 bytes are read" in answer


def test_a_client_that_sends_all_the_same_gets_the_answer(server: Served) -> None:
    for kind, wanted in (("image/png", 413), ("text/plain", 415)):
        assert server.predict(bytes(5_000_000), Content_Type=kind).status == wanted


def test_a_body_of_unknown_length_is_cut_at_the_limit(server: Served) -> None:
    head = header("/predict", 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    answer = server.raw(head, *[b"8000\r\n" + bytes(0x8000) + b"\r\n"] * 7)
    assert status(answer) == 413


def test_a_client_that_waits_to_be_asked_is_not_asked_for_what_is_refused(server: Served) -> None:
    answer = server.raw(header("/predict", 300_000, Expect="100-continue"))
    assert status(answer) == 413


@pytest.mark.parametrize(
    "kind", ["multipart/form-data; boundary=x", "text/plain", "application/json", "application/pdf"]
)
def test_other_types_are_refused(server: Served, kind: str) -> None:
    answer = server.predict(NOTHING, Content_Type=kind)
    assert (answer.status, answer.headers["connection"]) == (415, "close")
    assert server.predict(NOTHING, Content_Encoding="gzip").status == 415


def test_headers_of_a_billion_pixels_and_bombs_are_not_decoded(server: Served) -> None:
    before = memory(server.worker)
    for side in (32_000, 5_000):  # beyond --max-pixels: 20 million
        answer = server.predict(wide_png(side))
        assert answer.status == 422
        assert answer.json()["detail"].startswith(f"too large: {side} x {side} pixels")
    assert memory(server.worker) - before < 30e6
    assert server.predict(wide_png(4_200)).json()["detail"].startswith("truncated or damaged")  # one that is opened


def test_large_images_are_decoded_apart(server: Served) -> None:
    large = encoded(np.full((4_200, 4_200, 3), 7, np.uint8))  # beyond what several threads decode at once
    answer = server.predict(large)
    assert answer.json()["note"] == "blank, of one colour"


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "localhost.evil.example", "x@127.0.0.1", "[::1", ""]
)
def test_other_hosts_are_refused(server: Served, host: str, photo: bytes) -> None:
    assert server.predict(photo, Host=host).status == 421
    assert server.ask("GET", "/", Host=host).status == 421


def test_its_own_names_and_addresses_are_answered(server: Served, strict: Served, photo: bytes) -> None:
    for host in ("localhost", f"localhost:{server.port}", "127.0.0.1", "[::1]:80", "192.168.1.5"):
        assert server.predict(photo, Host=host).status == 200
    assert strict.predict(photo, Host="mine:443").status == 200
    assert server.predict(photo, Host="mine").status == 421


def test_foreign_pages_are_refused_and_listed_ones_answered(server: Served, strict: Served, photo: bytes) -> None:
    for origin in ("https://evil.example", "null", "http://localhost:1", "http://[", "https://friend.example"):
        answer = server.predict(photo, Host=f"localhost:{server.port}", Origin=origin)
        assert answer.status == 403
        assert "access-control-allow-origin" not in answer.headers
    own = f"localhost:{server.port}"
    assert server.predict(photo, Host=own, Origin=f"http://{own}").status == 200
    friend = strict.predict(photo, Origin="https://friend.example")
    assert (friend.status, friend.headers["access-control-allow-origin"]) == (200, "https://friend.example")
    preflight = strict.ask("OPTIONS", "/predict", Origin="https://friend.example")
    assert (preflight.status, preflight.headers["access-control-allow-methods"]) == (204, "GET, POST")
    assert strict.ask("OPTIONS", "/predict", Origin="https://evil.example").status == 403


def test_nothing_but_health_is_told_without_the_token(strict: Served, photo: bytes) -> None:
    token = strict.headers["Authorization"].removeprefix("Bearer ")
    for wrong in ("", "Bearer", f"Bearer {token[:-1]}", f"Bearer {token}x", "Bearer \xff", "Basic ?", token):
        for path in ("/", "/metrics", "/openapi.json", "/v2/models/small-model", "/nothing"):
            answer = strict.ask("GET", path, Authorization=wrong)
            assert (answer.status, answer.headers["www-authenticate"][:5]) == (401, "Basic")
        assert strict.predict(photo, Authorization=wrong).status == 401
    assert strict.ask("GET", "/readyz", Authorization="").status == 200
    assert strict.predict(photo).status == 200
    basic = base64.b64encode(f"anyone:{token}".encode()).decode()
    assert strict.ask("GET", "/", Authorization=f"Basic {basic}").status == 200


def test_every_answer_is_sealed_and_names_no_program(server: Served, photo: bytes) -> None:
    for answer in (server.ask("GET", "/"), server.predict(photo), server.predict(b""), server.ask("GET", "/nothing")):
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
        assert answer.headers["cache-control"] == "no-store"
        assert "server" not in answer.headers
        assert not any("uvicorn" in each or "starlette" in each for each in answer.headers.values())


def test_headers_that_are_too_long_are_refused(server: Served) -> None:
    assert server.predict(NOTHING, Long="x" * 40_000).status == 431
    assert server.predict(NOTHING, "?" + "x" * 20_000).status == 431
    with server.connected(b"POST /predict HTTP/1.1\r\nLong: ", *[b"x" * 8_000] * 3) as opened:  # without an end
        assert status(opened.recv(1000)) == 400


def test_what_is_no_http_is_refused(server: Served) -> None:
    for given in (b"\x16\x03\x01\x02" * 9 + b"\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n"):
        assert status(server.raw(given)) == 400


def test_slow_headers_and_slow_bodies_are_given_up(strict: Served, photo: bytes) -> None:
    with strict.connected(b"POST /predict HTTP/1.1\r\n") as headers, strict.connected() as silent:
        bodies = header("/predict", len(photo), Authorization=strict.headers["Authorization"])
        with strict.connected(bodies, photo[:10]) as body:
            assert status(everything(body)) == 408
        assert [status(everything(each)) for each in (headers, silent)] == [408, 408]
    assert strict.predict(photo).status == 200


def test_slow_clients_do_not_hold_the_places_of_others(server: Served, photo: bytes) -> None:
    slow = [server.connected(header("/predict", len(photo)), photo[:10]) for _ in range(4)]
    opened = [each.__enter__() for each in slow]
    server.wait_for("alexnet_slow_bodies", 4)
    assert server.predict(photo).status == 200
    for each in opened:
        each.sendall(photo[10:])
        assert status(each.recv(100)) == 200
    for each in slow:
        each.__exit__(None, None, None)
    server.wait_for("alexnet_slow_bodies", 0)


def test_a_full_queue_is_refused_at_once_and_nothing_accepted_is_lost(server: Served, photo: bytes) -> None:
    with ThreadPoolExecutor(4) as pool:
        with server.standing_still():
            accepted = [pool.submit(server.predict, photo) for _ in range(4)]
            server.wait_for("alexnet_places_taken", 4)
            refused = server.raw(header("/predict", 100_000))  # whose body is not even sent
            assert status(refused) == 503
            assert b"retry-after: 1\r\n" in refused.lower()
            assert b"connection: close" in refused.lower()
            assert server.ask("GET", "/livez").status == 200
        assert [each.result().status for each in accepted] == [200] * 4
    server.wait_for("alexnet_places_taken", 0)


def test_an_image_that_is_too_late_is_told_so(strict: Served, photo: bytes) -> None:
    with strict.standing_still():
        answer = strict.predict(photo)
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "no answer was found in 1 second" in answer.json()["detail"]
    assert strict.predict(photo).status == 200


def test_a_body_that_breaks_off_leaves_the_server_as_it_was(server: Served, photo: bytes) -> None:
    for length in (0, 10):
        with server.connected(header("/predict", len(photo)), photo[:length]):
            pass
    server.wait_for("alexnet_places_taken", 0)
    assert server.predict(photo).status == 200


def test_no_content_is_written_anywhere(server: Served, photo: bytes, tmp_path: Path) -> None:
    marked = b"a-mark-that-is-in-no-log"
    server.ask("POST", f"/predict?{marked.decode()}", marked * 9, Content_Type="image/png", X_Name=marked.decode())
    server.predict(marked * 9)
    server.ask("GET", f"/{marked.decode()}.jpg")
    assert marked not in server.log.read_bytes()
    assert marked.decode() not in server.ask("GET", "/metrics").body.decode()
    for process in (server.process.pid, server.worker):
        files = {str(each.readlink()) for each in Path(f"/proc/{process}/fd").iterdir()}
        assert {each for each in files if each.startswith("/") and not each.startswith(("/dev/", "/proc/"))} <= {
            str(server.log)
        }
        limits = Path(f"/proc/{process}/limits").read_text().splitlines()
        assert next(line.split()[4] for line in limits if line.startswith("Max core file size")) == "0"


def test_problems_are_one_line(server: Served, photo: bytes) -> None:
    for answer in (server.predict(b"words"), server.predict(photo, "?x=%0a"), server.ask("GET", "/a%0a")):
        assert "\n" not in json.loads(answer.body)["detail"]


@pytest.mark.parametrize("size", [0, 5])
def test_requests_one_after_the_other_share_a_connection(server: Served, photo: bytes, size: int) -> None:
    one = header("/predict", len(photo)) + photo
    with server.connected(*[one] * (size + 1)) as opened:
        found = b""
        until = time.monotonic() + 20
        while found.count(b"HTTP/1.1 200") < size + 1:
            assert time.monotonic() < until
            found += opened.recv(65536)


def test_a_fuzzed_image_never_ends_the_server(server: Served, photo: bytes) -> None:
    draw, seen = np.random.default_rng(3), set()
    for kind in ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF"):
        content = encoded(draw.integers(0, 256, (12, 12, 3), np.uint8), kind)
        for _ in range(6):
            damaged = bytearray(content)
            for place in draw.integers(0, len(damaged), 4):
                damaged[place] = draw.integers(256)
            seen.add(server.predict(bytes(damaged)).status)
    assert seen <= {200, 422}
    assert len(seen) == 2
    assert server.value("alexnet_restarts_total") == 0


def test_connections_beyond_the_limit_are_refused_and_the_others_answered(server: Served, photo: bytes) -> None:
    with ExitStack() as stack:
        held = [stack.enter_context(server.connected()) for _ in range(4 * 4 + 256)]
        assert status(server.raw()) == 503
        held[0].sendall(header("/predict", len(photo)) + photo)
        assert status(held[0].recv(1000)) == 200
    assert server.predict(photo).status == 200


def test_refusals_of_clients_who_ask_again_at_once_are_held_back() -> None:
    gate = Gate(1)
    delays = [gate.delay(5.0) for _ in range(300)]
    assert delays[0] == 0
    assert delays[50] == pytest.approx(0.5)  # a hundred in a second
    assert delays[-1] == 1
    assert gate.delay(60.0) == 0
