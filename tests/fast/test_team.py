"""A team that survives its members: interrupts, errors, threads that cannot start, forks, the end of the process."""

import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from support import ROOT
from support.compare import assert_bit_equal
from support.networks import images, random_tensors

from minivan.fast import Plan
from minivan.fast.team import Team
from minivan.variants import Config

SMALL = Config((8, 16, 24, 32), (1, 2, 2, 1), (8, 8, 4, 4), classes=10)
SETUP = """
import os, random, signal, sys, threading, time
import numba, numpy as np
from support.networks import images, random_tensors
from minivan.fast import Plan
from minivan.variants import Config
config = Config((8, 16, 24, 32), (1, 2, 2, 1), (8, 8, 4, 4), classes=10)
plan, x = Plan(config, random_tensors(config)), images(1, 64)
numba.set_num_threads(2)
expected = plan(x).tobytes()
"""


def in_a_process(script, timeout=120, **env):
    path = os.pathsep.join((str(ROOT), str(ROOT / "tests")))
    done = subprocess.run(
        [sys.executable, "-c", SETUP + script], capture_output=True, text=True, cwd=ROOT, timeout=timeout,
        env={**os.environ, "PYTHONPATH": path, "NUMBA_NUM_THREADS": "2", **env},
    )  # fmt: skip
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)
    return done.stdout.split()


class Meeting:
    """A barrier in Python, in place of the compiled one: whoever comes early waits until all are here or it is over."""

    def __init__(self, size):
        self.size, self.here, self.over = size, 0, False
        self.left = []

    def come(self, fails=None):
        self.here += 1
        if fails is not None:
            raise fails
        while self.here < self.size and not self.over:
            time.sleep(0.001)
        self.left.append(threading.current_thread().name)

    def release(self):
        self.over = True


@pytest.mark.parametrize("who", range(4))
@pytest.mark.parametrize("error", [ValueError("no"), MemoryError(), KeyboardInterrupt()], ids=lambda e: type(e).__name__)
def test_who_fails_lets_the_others_go_and_all_have_ended(who, error):
    team, meeting = Team(), Meeting(5)  # a fifth never comes: without the release nobody would ever leave
    assert team.gather(4) == 4
    with pytest.raises(type(error)) as caught:
        team.run(meeting.come, [(error if rank == who else None,) for rank in range(4)], meeting.release)
    assert caught.value is error and len(meeting.left) == 3
    meeting = Meeting(4)
    team.run(meeting.come, [(None,)] * 4, meeting.release)  # the team is as good as before
    assert len(meeting.left) == 4 and not meeting.over


def test_work_that_could_not_be_handed_out_is_waited_for_all_the_same(monkeypatch):
    """As if Ctrl-C came between two helpers' being told: the first waits for the second, who knows nothing."""
    team, meeting = Team(), Meeting(3)
    team.gather(3)

    class Interrupted:
        def __init__(self, desk):
            self.desk, self.times = desk, 0

        def put(self, work):
            self.times += 1
            if self.times == 1:
                raise KeyboardInterrupt
            self.desk.put(work)

    team._desks[1] = Interrupted(team._desks[1])
    with pytest.raises(KeyboardInterrupt):
        team.run(meeting.come, [(None,)] * 3, meeting.release)
    assert len(meeting.left) == 2 and team._desks[1].times == 2


def test_where_no_thread_can_start_fewer_do_it_and_the_bits_are_the_same(monkeypatch):
    plan, x = Plan(SMALL, random_tensors(SMALL)), images(3, 64)
    expected = Plan(SMALL, random_tensors(SMALL))(x)

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert plan._team.gather(4) == 1
    assert_bit_equal("alone", plan(x), expected)


def test_helpers_end_with_their_team():
    before = set(threading.enumerate())
    team = Team()
    team.gather(3)
    helpers = set(threading.enumerate()) - before  # those of other tests' teams may end meanwhile
    assert len(helpers) == 2
    del team
    for helper in helpers:
        helper.join(10)
    assert not any(helper.is_alive() for helper in helpers)


def test_an_interrupt_while_a_helper_starts_sends_it_home_and_the_team_is_as_good_as_before(monkeypatch):
    team, start, started = Team(), threading.Thread.start, []

    def interrupted(thread):
        start(thread)
        started.append(thread)
        raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        team.gather(2)
    monkeypatch.undo()
    started[0].join(20)
    assert not started[0].is_alive()
    meeting = Meeting(2)
    assert team.gather(2) == 2
    team.run(meeting.come, [(None,)] * 2, meeting.release)
    assert len(meeting.left) == 2


def test_memory_that_gives_out_is_raised_and_the_next_call_is_right(monkeypatch):
    from minivan.fast import workspace

    plan, x = Plan(SMALL, random_tensors(SMALL)), images(2, 64)
    expected = plan(x)
    right = workspace.aligned
    monkeypatch.setattr(workspace, "aligned", lambda size: right(size) if size < 1 else (_ for _ in ()).throw(MemoryError()))
    with pytest.raises(MemoryError):
        plan(images(2, 128))
    monkeypatch.undo()
    assert_bit_equal("afterwards", plan(x), expected)


def test_hundreds_of_interrupts_leave_right_answers():
    """A timer's signal raises in the midst of calls, as Ctrl-C does: each call is ended or answers, and none is wrong."""
    interrupted, answered = in_a_process("""
class Stop(BaseException): pass
def stop(*args): raise Stop
signal.signal(signal.SIGALRM, stop)
draw, count = random.Random(0), {"interrupted": 0, "answered": 0}
while count["interrupted"] < 300:
    try:
        signal.setitimer(signal.ITIMER_REAL, draw.uniform(1e-5, 2e-3))
        y = plan(x)
        signal.setitimer(signal.ITIMER_REAL, 0)
        assert y.tobytes() == expected
        count["answered"] += 1
    except Stop:
        count["interrupted"] += 1
signal.setitimer(signal.ITIMER_REAL, 0)
assert plan(x).tobytes() == expected
print(*count.values())
""")
    assert int(interrupted) == 300 and int(answered) > 0


def test_a_forked_child_computes_though_another_thread_was_computing():
    assert in_a_process("""
stop = threading.Event()
def work():
    while not stop.is_set(): plan(x)
worker = threading.Thread(target=work)
worker.start()
ends = []
for _ in range(10):
    time.sleep(0.01)
    child = os.fork()
    if child == 0:
        os._exit(0 if plan(x).tobytes() == expected else 3)
    ends.append(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
stop.set()
worker.join()
print(*ends)
""") == ["0"] * 10  # fmt: skip


def test_a_pool_of_forked_processes_answers():
    assert in_a_process("""
import multiprocessing
def answer(i): return plan(x).tobytes() == expected
with multiprocessing.get_context("fork").Pool(2) as pool:
    print(*pool.map(answer, range(6)))
""") == ["True"] * 6  # fmt: skip


def test_a_model_answers_until_the_very_end():
    said = in_a_process("""
import atexit
class Last:
    def __del__(self, plan=plan, x=x, expected=expected): print("finalizer", plan(x).tobytes() == expected, flush=True)
last = Last()
def new(): return Plan(config, random_tensors(config))(x).tobytes() == expected
def late():
    time.sleep(0.2)
    print("thread", new(), flush=True)
threading.Thread(target=late).start()
atexit.register(lambda: print("atexit", plan(x).tobytes() == expected, new(), flush=True))
""")
    assert said == ["thread", "True", "atexit", "True", "True", "finalizer", "True"]


def test_members_at_once_and_alone_give_the_same():
    plan, x = Plan(SMALL, random_tensors(SMALL)), images(2, 70, 93)
    np.testing.assert_array_equal(plan(x), Plan(SMALL, random_tensors(SMALL))(x))
