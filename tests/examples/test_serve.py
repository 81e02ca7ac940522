"""The server answers with the bits of a call, says in one line what is wrong, and waits for nobody for ever."""

import argparse
import hashlib
import http.client
import json
import re
import select
import socket
import sys
import threading
import time

import pytest
from support import CHECKPOINTS, EXAMPLES

import minivan

sys.path.insert(0, str(EXAMPLES / "serve"))

import server as serve

WEIGHTS = str(CHECKPOINTS / "official.pth.tar")
CAT = (EXAMPLES / "cat.jpg").read_bytes()
ROCKET = (EXAMPLES / "rocket.jpg").read_bytes()
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture(scope="module")
def model():
    return minivan.load(WEIGHTS, engine="numpy")


@pytest.fixture(scope="module")
def service():
    """A service in this process, over a small network that is not compiled; it ends well."""
    options = argparse.Namespace(weights=WEIGHTS, engine="numpy", workers=0, grace=20)
    service = serve.Service(socket.create_server(("127.0.0.1", 0)), serve.Board(1), options)
    service.port = service.listener.getsockname()[1]
    statuses = []
    thread = threading.Thread(target=lambda: statuses.append(service.run()), daemon=True)
    thread.start()
    assert service.ready.wait(60)
    yield service
    service.stopping.set()
    thread.join(60)
    assert statuses == [0]


def ask(service, method="POST", path="/classify", body=None, headers=JPEG, connection=None):
    """Send one request; return the answer's status, headers and JSON (or text)."""
    connection = connection or http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    connection.request(method, path, body, headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    assert text.count("\n") == 1 or path == "/metrics" or method == "HEAD"
    return answer.status, answer.headers, json.loads(text) if text.startswith("{") else text


def raw(service, *pieces):
    """Send bytes as they are; return all that comes back."""
    with socket.create_connection(("127.0.0.1", service.port), 60) as connection:
        for piece in pieces:
            connection.sendall(piece)
        return b"".join(iter(lambda: connection.recv(1 << 16), b""))


def photo(size, *headers):
    return "\r\n".join(("POST /classify HTTP/1.1", "Host: x", f"Content-Length: {size}", *headers, "", "")).encode()


def alone(model, data):
    """Return the digest of one photo's logits from a call without a server."""
    x = minivan.image.prepare(data, model.card.preprocessing)
    return hashlib.sha256(model(x[None])[0].tobytes()).hexdigest()


def until(true):
    """Wait for what another thread does."""
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.01)


def test_a_photo_is_answered_with_the_bits_of_a_call(service, model):
    status, headers, said = ask(service, path="/classify?top=2", body=CAT)
    assert status == 200 and headers["Content-Type"] == "application/json" and "Connection" not in headers
    x = minivan.image.prepare(CAT, model.card.preprocessing)
    guesses = minivan.predict.guesses(model.card, model(x[None])[0], 2)
    assert said["logits_sha256"] == alone(model, CAT)
    assert [(g["index"], g["probability"]) for g in said["top"]] == [(g.index, g.probability) for g in guesses]
    assert (said["model"], said["engine"]) == (model.card.name, "numpy")


def test_photos_that_come_together_are_one_batch_with_the_bits_of_each_alone(service, model, monkeypatch):
    shapes, network, released = [], service.network.model, threading.Event()

    class Seen:
        card, engine = network.card, network.engine

        def __call__(self, x):
            released.wait(60)  # the first batch is computed while the others come
            shapes.append(len(x))
            return network(x)

    monkeypatch.setattr(service.network, "model", Seen())
    said, sent, before = {}, [CAT, ROCKET, CAT, ROCKET, CAT, ROCKET], service.board.total("minivan_batch_photos_sum")
    threads = [
        threading.Thread(target=lambda i=i, data=data: said.update({i: ask(service, body=data)})) for i, data in enumerate(sent)
    ]
    for thread in threads:
        thread.start()
    gone = "minivan_batch_photos_sum", "minivan_queue_length"  # into the first batch, or decoded
    until(lambda: sum(map(service.board.total, gone)) - before == len(sent))
    released.set()
    for thread in threads:
        thread.join(60)
    digests = {CAT: alone(model, CAT), ROCKET: alone(model, ROCKET)}
    assert [said[i][2]["logits_sha256"] for i in range(len(sent))] == [digests[data] for data in sent]
    assert sum(shapes) == len(sent) and len(shapes) <= 2


@pytest.mark.parametrize(
    ("status", "words", "request_", "closed"),
    [
        (404, "/classify, /health and /metrics", dict(method="GET", path="/"), False),
        (405, "takes POST", dict(method="GET"), False),
        (405, "takes GET, HEAD", dict(path="/health", body=b"x"), True),
        (400, "top is a number", dict(path="/classify?top=many", body=CAT), True),
        (400, "top is a number", dict(path="/classify?top=0", body=CAT), True),
        (400, "not an image", dict(body=b"no photo"), False),
        (400, "ends early", dict(body=CAT[:5000]), False),
        (400, "more than 0", dict(body=b""), False),
        (411, "Content-Length", dict(body=iter([CAT])), True),
        (413, "at most 8388608 bytes", dict(body=bytes(9 << 20)), True),
        (415, "photo's bytes as they are", dict(body=CAT, headers={"Content-Type": "multipart/form-data; boundary=x"}), True),
    ],
)
def test_what_is_wrong_is_said_in_one_line(service, status, words, request_, closed):
    answered, headers, said = ask(service, **request_)
    assert answered == status and words in said["error"], said
    assert (headers["Connection"] == "close") == closed, "what was not read would be taken for the next request"
    assert status != 405 or headers["Allow"] in said["error"]
    assert ask(service, body=CAT)[0] == 200


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"garbage\r\n\r\n", 400),
        (b"GET /health\r\n\r\n", 200),  # HTTP/0.9
        (b"GET /health HTTP/1.0\r\n\r\n", 200),
        (b"GET /health HTTP/3.1\r\n\r\n", 505),
        (b"BREW /health HTTP/1.1\r\n\r\n", 501),
        (b"GET /" + bytes(b"a" * 70_000) + b" HTTP/1.1\r\n\r\n", 414),
        (b"GET /health HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
        (photo(10, "Content-Length: 11"), 400),
        (photo("1" * 5000), 413),
        (photo("-1"), 400),
        (photo("ten"), 400),
        (photo(10, "Transfer-Encoding: chunked"), 411),
    ],
)
def test_nonsense_is_answered_and_the_connection_ends(service, sent, status):
    said = raw(service, sent)
    assert said.startswith(f"HTTP/1.1 {status} ".encode()), said
    head, _, body = said.partition(b"\r\n\r\n")
    assert b"Connection: close" in head and body.count(b"\n") == 1 and json.loads(body)


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\r\nGET /health HTTP/1.1\r\n", 200),
        (b"\n\r\n\r\nGET /health HTTP/1.1\r\n", 200),
        (b"GET http://127.0.0.1:1/health HTTP/1.1\r\n", 200),
        (b"GET HTTPS://x/metrics?all HTTP/1.1\r\n", 200),
        (b"GET http://x HTTP/1.1\r\n", 404),
        (b"GET http://x?top=1 HTTP/1.1\r\n", 404),
        (b"GET ftp://x/health HTTP/1.1\r\n", 404),
        (b"POST http://x/classify?top=1 HTTP/1.1\r\nContent-Type: \r\nContent-Length: %d\r\n" % len(CAT), 200),
        (b"POST /classify HTTP/1.1\r\nContent-Type: image/jpeg; q=1\r\nContent-Length: %d\r\n" % len(CAT), 200),
        (b"POST /classify HTTP/1.1\r\nContent-Type: text\r\nContent-Length: %d\r\n" % len(CAT), 415),
    ],
)
def test_what_proxies_and_old_clients_send_is_understood(service, sent, status):
    body = CAT if sent.startswith(b"POST") else b""
    with socket.create_connection(("127.0.0.1", service.port), 60) as connection:
        connection.sendall(sent + b"Connection: close\r\n\r\n" + body)
        assert connection.makefile("rb").readline().startswith(b"HTTP/1.1 %d " % status)


def test_empty_lines_alone_are_no_request(service):
    assert raw(service, b"\r\n" * 3, b"GET /health HTTP/1.1\r\nConnection: close\r\n\r\n").count(b"HTTP/1.1 ") == 1
    with socket.create_connection(("127.0.0.1", service.port), 60) as connection:
        connection.sendall(b"\r\n" * 20_000)
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1) == b""


def test_a_connection_is_kept_and_its_requests_answered_in_order(service):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    answers = [ask(service, body=data, connection=connection)[2]["logits_sha256"] for data in (CAT, ROCKET, CAT)]
    assert answers[0] == answers[2] != answers[1]
    assert ask(service, "HEAD", "/health", connection=connection)[::2] == (200, "")
    assert ask(service, "GET", "/health", connection=connection)[2]["status"] == "ready"
    connection.close()
    both = raw(service, photo(len(CAT)) + CAT + photo(len(ROCKET), "Connection: close") + ROCKET)
    assert re.findall(rb'"logits_sha256": "(\w+)"', both) == [answers[0].encode(), answers[1].encode()]


def test_a_client_that_asks_first_is_told_before_it_sends(service):
    wanted = raw(service, photo(len(CAT), "Expect: 100-continue", "Connection: close"), CAT)
    assert wanted.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n")
    assert raw(service, photo(1 << 30, "Expect: 100-continue")).startswith(b"HTTP/1.1 413 ")


def test_slow_clients_hold_nobody_up_and_are_told(service, monkeypatch):
    monkeypatch.setattr(serve, "BODY", 0.5)
    slow = [socket.create_connection(("127.0.0.1", service.port), 60) for _ in range(20)]
    for connection in slow:
        connection.sendall(photo(len(CAT)) + CAT[:1000])
    assert ask(service, body=CAT)[0] == 200
    for connection in slow:
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 408 ")
        connection.close()


def test_a_byte_now_and_then_does_not_keep_a_connection(service, monkeypatch):
    monkeypatch.setattr(serve, "HEADERS", 0.1)
    with socket.create_connection(("127.0.0.1", service.port), 60) as connection, pytest.raises(ConnectionError):
        while True:
            connection.sendall(b"X")
            time.sleep(0.02)


def test_a_full_house_says_so_and_keeps_the_connection(service, monkeypatch):
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60)
    with monkeypatch.context() as full:
        full.setattr(serve, "WAITING", 0)
        status, headers, said = ask(service, body=CAT, connection=connection)
    assert (status, headers["Retry-After"], "Connection" in headers) == (503, "1", False) and "wait already" in said["error"]
    assert ask(service, body=CAT, connection=connection)[0] == 200
    assert service.network.photos == 0


def test_when_all_connections_are_taken_idle_ones_are_closed(service, monkeypatch):
    monkeypatch.setattr(serve, "CONNECTIONS", 3)
    monkeypatch.setattr(serve, "LINGER", 0.2)
    idle = [socket.create_connection(("127.0.0.1", service.port), 60) for _ in range(3 + 2 * serve.EXTRA)]
    assert ask(service, body=CAT)[0] == 200
    for connection in idle[:-2]:  # until fewer than three are open
        assert connection.recv(1) == b""
    for connection in idle:
        connection.close()


def test_health_is_answered_while_all_connections_are_slow(service, monkeypatch):
    monkeypatch.setattr(serve, "CONNECTIONS", 3)
    monkeypatch.setattr(serve, "LINGER", 0.2)
    slow = [socket.create_connection(("127.0.0.1", service.port), 60) for _ in range(3)]
    for connection in slow:
        connection.sendall(photo(len(CAT)) + CAT[:1000])
    until(lambda: list(service.open.values()).count(serve.BUSY) == 3)
    assert ask(service, "GET", "/health")[0] == ask(service, "GET", "/metrics")[0] == 200
    status, headers, said = ask(service, body=CAT)
    assert (status, headers["Retry-After"]) == (503, "1") and said["error"] == "3 connections are busy already"
    headless = [socket.create_connection(("127.0.0.1", service.port), 60) for _ in range(2 * serve.EXTRA)]
    for connection in headless:
        connection.sendall(b"GET /hea")
    assert ask(service, "GET", "/health")[0] == 200
    assert not select.select(slow, [], [], 0)[0], "they were answered before"
    for connection in slow:
        connection.sendall(CAT[1000:])
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")
    for connection in (*slow, *headless):
        connection.close()
    until(lambda: serve.BUSY not in service.open.values())


def test_who_has_just_connected_is_waited_for_though_the_house_is_full(service, monkeypatch):
    monkeypatch.setattr(serve, "CONNECTIONS", 0)
    with socket.create_connection(("127.0.0.1", service.port), 60) as connection:
        assert not select.select([connection], [], [], 4 * serve.POLL)[0], "it was cut off"
        connection.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 200 ")


def test_a_decoder_without_an_end_is_left_alone(service, monkeypatch):
    released = threading.Event()
    with monkeypatch.context() as slow:
        slow.setattr(minivan.image, "LONGEST", 0.2)
        slow.setattr(minivan.image, "examine", lambda *_: released.wait(60))
        status, _, said = ask(service, body=CAT)
        assert status == 400 and "longer than 0.2 seconds" in said["error"]
    assert ask(service, body=CAT)[0] == 200
    released.set()
    assert service.network.photos == 0


def test_too_many_pixels_are_refused_before_they_are_decoded(service, monkeypatch):
    monkeypatch.setattr(serve, "MOST_PIXELS", 1000)
    status, _, said = ask(service, body=CAT)
    assert status == 413 and "at most 1000 pixels" in said["error"]


def test_a_fault_of_the_network_is_logged_and_the_next_photo_is_answered(service, monkeypatch, caplog):
    with monkeypatch.context() as broken:
        broken.setattr(service.network.model, "checked", lambda x: 1 / 0)
        status, _, said = ask(service, body=CAT)
        assert status == 500 and said == {"error": "the server failed; its log says more"}
    assert "ZeroDivisionError" in caplog.text
    assert ask(service, body=CAT)[0] == 200


def test_health_says_why_not(service, monkeypatch):
    service.ready.clear()
    service.board.add("minivan_ready", -1)  # where another process is ready, this one would leave connections to it
    assert ask(service, "GET", "/health")[::2] == (503, {"error": "loading"})
    assert ask(service, body=CAT)[::2] == (503, {"error": "loading"})
    service.ready.set()
    service.board.add("minivan_ready")
    monkeypatch.setattr(service.network, "computing", time.monotonic() - 1000)
    assert ask(service, "GET", "/health")[::2] == (503, {"error": "the network does not answer"})


def scraped(service):
    """Return what /metrics says: the lines, and series -> value."""
    _, headers, text = ask(service, "GET", "/metrics")
    assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
    lines = text.splitlines()
    return lines, {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if line[0] != "#")}


def test_metrics_count_what_was_answered(service):
    before = scraped(service)[1]
    for path in ("/classify", "/classify", "/nothing"):
        ask(service, path=path, body=CAT)
    until(lambda: service.board.total("minivan_connections") == 0)
    lines, values = scraped(service)
    more = {name: value - before[name] for name, value in values.items()}
    assert more['minivan_requests_total{status="200"}'] == 3 and more['minivan_requests_total{status="404"}'] == 1
    assert more["minivan_request_seconds_count"] == more['minivan_request_seconds_bucket{le="+Inf"}'] == 2
    assert more["minivan_batch_photos_sum"] == 2 and more["minivan_request_seconds_sum"] > 0
    assert values["minivan_photos_in_flight"] == values["minivan_queue_length"] == 0
    assert values["minivan_connections"] == values["minivan_ready"] == 1
    counts = [value for name, value in values.items() if name.startswith("minivan_request_seconds_bucket")]
    assert counts == sorted(counts)
    assert [line.split()[2] for line in lines if line.startswith("# TYPE")] == list(serve.METRICS)


def test_the_page_has_the_limits_of_the_code():
    page = " ".join((EXAMPLES / "serve" / "README.md").read_text(encoding="utf-8").split())
    for words in (
        f"waits {serve.WINDOW * 1000:.0f} ms at most",
        f"stacks up to {serve.BATCH}.",
        f"more than {serve.LARGEST_BODY >> 20} MiB or {serve.MOST_PIXELS / 1e6:.0f} megapixels (413)",
        f"not there after {serve.BODY} seconds (408)",
        f"longer than {minivan.image.LONGEST} seconds (400)",
        f"computed one batch for longer than {minivan.image.LONGEST} seconds",
        f"With {serve.WAITING} photos waiting in a process",
        f"At most {serve.CONNECTIONS} connections",
        f"{serve.EXTRA} more are open",
        f"after {({5: 'five'})[serve.HOPELESS]} in a row that were never ready",
        f"after {serve.parser().get_default('grace')} seconds (`--grace`)",
    ):
        assert words in page, words


def test_the_boards_of_several_processes_are_one():
    board = serve.Board(3)
    for board.row in range(3):
        board.add("minivan_ready")
        board.observe("minivan_batch_photos", 3)
    assert board.total("minivan_ready") == 3 and 'minivan_batch_photos_bucket{le="4"} 3' in board.text()
    assert board.forget(1) and not board.forget(1)
    assert board.total("minivan_ready") == 2 and board.total("minivan_batch_photos_sum") == 9
