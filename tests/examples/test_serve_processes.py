"""The server as a supervisor starts it: processes that share a socket, die, are replaced, and stop gracefully under load."""

import contextlib
import itertools
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from support import CHECKPOINTS, EXAMPLES

sys.path.insert(0, str(EXAMPLES / "serve"))

import load

SOAK = float(os.environ.get("MINIVAN_SOAK_SECONDS", "600"))
SMALL = ("--weights", str(CHECKPOINTS / "official.pth.tar"), "--engine", "numpy")
CAT = (EXAMPLES / "cat.jpg").read_bytes()
LEAK = 16  # MiB that a server may grow by from a fifth of a soak to its end, beside a twentieth of what it holds

processes = pytest.mark.parametrize("workers", [pytest.param(0, id="threads"), pytest.param(2, id="prefork")])


def started(workers, *arguments, cache=None):
    return load.Server("--workers", str(workers), *arguments, cache=cache, processes=max(1, workers))


def until(true):
    """Wait for what another process does."""
    give_up = time.monotonic() + 60
    while not true():
        assert time.monotonic() < give_up
        time.sleep(0.02)


def alive(process):
    with contextlib.suppress(OSError):
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    return False


@contextlib.contextmanager
def half_a_photo(server):
    """A connection on which half of a photo has come, and no more does."""
    with socket.create_connection(("127.0.0.1", server.port), 60) as connection:
        head = f"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: {len(CAT)}\r\n\r\n"
        connection.sendall(head.encode() + CAT[:1000])
        until(lambda: server.metrics()["minivan_connections"] == 2)  # the one that asks is the other
        yield connection


@pytest.mark.slow
@processes
def test_under_load_every_answer_has_the_bits_of_a_call_alone(workers):
    with started(workers) as server:
        seen = load.drive(server, load.digests(load.photos(), "fast"), clients=12, seconds=5)
        metrics = server.metrics()
    assert not seen.faults and seen.latencies
    assert metrics["minivan_batch_photos_sum"] > metrics["minivan_batch_photos_count"], "no two photos shared a batch"
    assert server.status == 0


@pytest.mark.once
def test_a_worker_that_is_killed_is_replaced_and_its_counts_remain():
    with started(2, *SMALL) as server:
        for _ in range(4):
            assert server.ask("POST", "/classify", CAT)[0] == 200
        assert "\nThreads:\t1\n" in Path(f"/proc/{server.process.pid}/status").read_text(), "who has threads is not forked"
        for _ in range(3):
            victim = server.members()[0]
            os.kill(victim, signal.SIGKILL)
            until(lambda victim=victim: victim not in server.members() and server.metrics()["minivan_ready"] == 2)
            assert server.ask("POST", "/classify", CAT)[0] == 200
        assert server.metrics()["minivan_batch_photos_sum"] == 7
        assert server.said().count("another one takes its place") == 3
    assert server.status == 0


def run_by(program, *arguments):
    """A server with two workers, in a process that did something before it became one."""
    server = started(2, *arguments)
    server.command = [
        sys.executable,
        "-c",
        f"import os, signal, sys; {program}; os.execv(sys.argv[1], sys.argv[1:])",
        *server.command,
    ]
    return server


@pytest.mark.once
def test_a_process_that_is_no_worker_may_end_beneath_it():
    with run_by("os.fork() or os.execvp('sleep', ['sleep', '3'])", *SMALL) as server:
        until(lambda: len(server.members()) == 2)
        assert server.ask("POST", "/classify", CAT)[0] == 200
        assert "another one takes its place" not in server.said()
    assert server.status == 0


@pytest.mark.once
def test_workers_are_replaced_where_the_end_of_a_process_is_ignored():
    with run_by("signal.signal(signal.SIGCHLD, signal.SIG_IGN)", *SMALL) as server:
        victim = server.members()[0]
        os.kill(victim, signal.SIGKILL)
        until(lambda: victim not in server.members() and server.metrics()["minivan_ready"] == 2)
        assert server.said().count("another one takes its place") == 1
    assert server.status == 0


@pytest.mark.slow
@processes
def test_a_stop_under_load_answers_all_that_is_in_flight(workers):
    """Every client sends photos over a connection that it keeps, until it is told that this answer is the last."""
    answered, faults = [], []

    def client(connection):
        with connection, connection.makefile("rb") as file:
            for number in itertools.count():
                connection.sendall(b"POST /classify HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(CAT) + CAT)
                head = list(iter(file.readline, b"\r\n"))
                if not head or b" 200 " not in head[0]:
                    faults.append((number, head))
                    return
                file.read(int(next(line.split()[1] for line in head if line.startswith(b"Content-Length"))))
                if b"Connection: close\r\n" in head:
                    answered.append(number)
                    return

    with started(workers, *SMALL) as server:
        connections = [socket.create_connection(("127.0.0.1", server.port), 60) for _ in range(8)]
        clients = [threading.Thread(target=client, args=(connection,)) for connection in connections]
        for thread in clients:
            thread.start()
        until(lambda: server.metrics()["minivan_batch_photos_sum"] > 10)
        assert server.stop() == 0
        for thread in clients:
            thread.join(60)
    assert not faults and len(answered) == len(clients)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", server.port), 60)


@pytest.mark.once
@processes
def test_who_never_finishes_is_cut_off_after_the_grace(workers):
    with started(workers, *SMALL, "--grace", "0.5") as server, half_a_photo(server):
        assert server.stop() == 1
        assert "1 connections are cut off after 0.5 seconds of grace" in server.said()


@pytest.mark.once
@processes
def test_a_second_signal_ends_it_at_once(workers):
    with started(workers, *SMALL) as server, half_a_photo(server) as connection:
        members = server.members()
        server.process.send_signal(signal.SIGTERM)
        until(lambda: _refused(server.port))
        assert server.stop() in (-signal.SIGTERM, 128 + signal.SIGTERM)
        until(lambda: not any(alive(process) for process in members))
        with contextlib.suppress(ConnectionError):
            assert connection.recv(1) == b""


FIRST = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child"]  # of a namespace of processes of its own
if subprocess.run([*FIRST, "true"], capture_output=True, check=False).returncode:
    FIRST = []  # where no namespace can be had, the server is a process as any other


@pytest.mark.once
@processes
def test_a_second_signal_ends_the_first_process_of_a_container_as_well(workers):
    """The system gives it no signal that it does not handle itself."""
    server = started(workers, *SMALL)
    server.command = [*FIRST, *server.command]
    with server, half_a_photo(server):
        first = server.process.pid
        if FIRST:
            (first,) = map(int, Path(f"/proc/{first}/task/{first}/children").read_text().split())
        os.kill(first, signal.SIGTERM)
        until(lambda: _refused(server.port))
        os.kill(first, signal.SIGTERM)
        assert server.process.wait(60) == 128 + signal.SIGTERM


def _refused(port):
    try:
        socket.create_connection(("127.0.0.1", port), 60).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.once
def test_ctrl_c_of_a_terminal_reaches_all_and_ends_all_gracefully():
    with started(2, *SMALL) as server:
        for process in (*server.members(), server.process.pid):
            os.kill(process, signal.SIGINT)
        assert server.process.wait(60) == 0


@pytest.mark.once
def test_workers_end_with_their_parent():
    with started(2, *SMALL) as server:
        members = server.members()
        server.process.kill()
        until(lambda: not any(alive(process) for process in members))


@pytest.mark.once
@processes
def test_what_can_never_answer_ends_with_a_line(workers):
    with pytest.raises(TimeoutError) as raised, started(workers, "--weights", "no-such-file", "--engine", "numpy"):
        pass
    said = str(raised.value)
    assert "cannot answer: " in said and "no-such-file" in said and "Traceback" not in said
    assert not workers or "5 workers in a row ended before they were ready: giving up" in said


@pytest.mark.once
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--port", "99999"), "port must be 0-65535"),
        (("--host", "no such host"), "cannot listen on no such host"),
        (("--workers", "-1"), "--workers is a number from 0 to 256"),
        (("--workers", "100000"), "--workers is a number from 0 to 256"),
    ],
)
def test_a_wrong_call_is_one_line(arguments, words):
    with pytest.raises(TimeoutError) as raised:
        load.Server(*arguments).__enter__()
    assert words in str(raised.value) and "Traceback" not in str(raised.value)


@pytest.mark.once
def test_a_port_that_is_taken_is_one_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(TimeoutError, match=f"cannot listen on 127.0.0.1, port {port}: Address already in use"):
            load.Server("--port", port).__enter__()


@pytest.mark.long
@pytest.mark.parametrize("cached", [pytest.param(True, id="cached"), pytest.param(False, id="not-cached")])
@processes
def test_ten_minutes_under_load(workers, cached, capsys):
    """The same bits, flat memory, bounded latencies; MINIVAN_SOAK_SECONDS makes it shorter."""
    expected = load.digests(load.photos(), "fast")  # whose kernels are kept
    with (
        tempfile.NamedTemporaryFile() as file,  # below which no kernels can be kept
        started(workers, "--engine", "fast", cache=None if cached else f"{file.name}/none") as server,
    ):
        members = server.members()
        seen = load.drive(server, expected, clients=8, seconds=SOAK)
        assert server.members() == members, "a worker died"
        metrics = server.metrics()
    with capsys.disabled():
        print("\n" + load.line(workers, cached, server, seen, metrics), end="")
    assert not seen.faults and server.status == 0
    assert metrics['minivan_requests_total{status="500"}'] == metrics['minivan_requests_total{status="503"}'] == 0
    assert seen.memory_at(1) <= 1.05 * seen.memory_at(0.2) + LEAK
    assert seen.percentile(99) < 2000
