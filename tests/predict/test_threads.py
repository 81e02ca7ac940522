"""Threads that nobody has to wait for: a job without an end is left behind, and what all hold is bounded."""

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from support import EXAMPLES, ROOT

from minivan import image
from minivan.card import PRESETS, Preprocessing
from minivan.image import decoding
from minivan.predict import ahead, find_images, prepare_ahead
from minivan.predict.threads import Budget, Threads, alone

pytestmark = pytest.mark.loop

COFFEE = EXAMPLES / "coffee.jpg"


@pytest.fixture
def stuck(monkeypatch):
    """Let images named stuck*.jpg decode until the test ends."""
    release, real = threading.Event(), decoding.Examined.decode

    def decode(self, *how):
        if self.look.width == 7:
            release.wait(60)
        return real(self, *how)

    monkeypatch.setattr(decoding.Examined, "decode", decode)
    yield release
    release.set()


def test_an_image_that_takes_too_long_is_a_fault_and_the_rest_is_done(tmp_path, stuck, monkeypatch):
    monkeypatch.setattr(image, "LONGEST", 0.2)
    from PIL import Image

    for number in range(6):
        Image.new("RGB", (7 if number in (0, 1, 4) else 9, 9)).save(tmp_path / f"{number}.png")
    ready = list(prepare_ahead(find_images([tmp_path]), PRESETS["official"], threads=2))
    late = "it took longer than 0.2 seconds to decode"
    assert [found.fault for found in ready] == [late, late, "", "", late, ""]


def test_ctrl_c_ends_the_wait_for_one_image_at_once():
    """In a process of its own, whose decoder never comes back."""
    code = f"""
import sys, threading
from minivan.image import decoding
decoding.Examined.decode = lambda self, *how: (print("decoding", flush=True), threading.Event().wait())
from minivan.cli import main
sys.exit(main({["classify", str(COFFEE), "--engine", "numpy"]!r}))
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "decoding\n"
    os.kill(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)  # a decoder that is waited for would never end
    assert (process.returncode, said) == (130, "")


def test_jobs_are_done_in_order_by_so_many_threads_and_their_errors_are_raised():
    threads, seen = Threads(2, "test"), []

    def work(number):
        def do(job):
            job.begin()
            seen.append(threading.current_thread())
            if number == 3:
                raise KeyError(number)
            return number

        return do

    jobs = [threads.submit(work(number)) for number in range(9)]
    assert [threads.result(job, 60) for job in jobs[:3]] == [0, 1, 2]
    with pytest.raises(KeyError):
        threads.result(jobs[3], 60)
    assert [threads.result(job, 60) for job in jobs[4:]] == [4, 5, 6, 7, 8]
    threads.close()
    assert len(set(seen)) <= 2 and all(thread.daemon for thread in seen)
    for thread in set(seen):
        thread.join()


def test_alone():
    assert alone(lambda: 5, 60) == 5
    with pytest.raises(ZeroDivisionError):
        alone(lambda: 1 / 0, 60)
    release = threading.Event()
    with pytest.raises(TimeoutError, match=r"longer than 0\.1 seconds"):
        alone(release.wait, 0.1)
    release.set()


def test_a_budget_is_never_exceeded_and_what_is_larger_waits_for_all_of_it():
    budget, most = Budget(10, 60), []

    def hold(amount):
        with budget.of(amount):
            most.append(budget.used)
            time.sleep(0.001)

    threads = [threading.Thread(target=hold, args=(amount,)) for amount in (3, 4, 99, 5, 6, 10, 1) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(most) <= 10 and budget.used == 0 and len(most) == 21


def test_decoding_holds_its_estimate_of_the_budget(monkeypatch):
    asked = []
    monkeypatch.setattr(Budget, "of", lambda self, amount, of=Budget.of: asked.append(amount) or of(self, amount))
    (found,) = prepare_ahead(find_images([COFFEE]), PRESETS["official"])
    assert found.fault == "" and asked == [image.walked(COFFEE.stat().st_size)]


@pytest.mark.parametrize(("crop", "waiting"), [(224, 16), (2048, 5), (8192, 1)])
def test_fewer_images_wait_where_they_are_large(crop, waiting):
    """A small file of weights may ask for crops of 8192: 800 MB for each image."""
    assert ahead.at_once(Preprocessing(crop=crop, resize=crop), 16) == waiting
    assert waiting * 12 * crop**2 <= max(ahead.WAITING, 12 * crop**2)


def test_pipes_that_are_read_ahead_hold_no_more_than_images_that_wait(tmp_path, monkeypatch):
    from minivan.predict.images import Found

    monkeypatch.setattr(ahead, "WAITING", 1000)
    monkeypatch.setattr(ahead, "at_once", lambda preprocessing, most: most)
    monkeypatch.setattr(Found, "waits", True)
    read = []
    monkeypatch.setattr(Found, "source", lambda self: read.append(self.name) or bytes(600))
    ready = prepare_ahead([Found(str(number)) for number in range(9)], PRESETS["official"])
    assert "not an image" in next(ready).fault and len(read) == 3  # two that hold more than the limit together, and the next


def test_a_large_crop_is_normalised_without_copies_of_it():
    """Twelve bytes a pixel are the result's, four Pillow's; Python's memory holds little more than the result."""
    import tracemalloc

    from PIL import Image

    picture = Image.new("RGB", (2000, 2000), (1, 2, 3))
    tracemalloc.start()
    made = image.normalise(picture, (0.5,) * 3, (0.5,) * 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert made.shape == (3, 2000, 2000) and peak <= made.nbytes + 48 * (1 << 20)
    np.testing.assert_array_equal(
        made[:, 0, 0], ((np.float32([1, 2, 3]) / np.float32(255)) - np.float32(0.5)) / np.float32(0.5)
    )
