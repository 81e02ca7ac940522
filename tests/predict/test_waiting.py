"""Nothing waits without an end: the clock runs while a file is read, walked over and decoded, and stops for others alone."""

import threading

import pytest
from PIL import Image
from support.pictures import encode

from minivan import image
from minivan.card import PRESETS
from minivan.image import decoding
from minivan.predict import Found, ahead, find_images, prepare_ahead
from minivan.predict.threads import Budget, Job, Threads, alone

pytestmark = pytest.mark.loop

OFFICIAL = PRESETS["official"]
HELD = "an image before it is still being decoded and holds the memory; try this one alone"


@pytest.fixture
def release():
    """An event that ends what a test left waiting."""
    event = threading.Event()
    yield event
    event.set()


@pytest.fixture
def photos(tmp_path):
    """The paths of photos, of which the first is 7 pixels wide."""
    paths = [tmp_path / f"{number}.png" for number in range(3)]
    for path in paths:
        Image.new("RGB", (7 if path == paths[0] else 9, 9)).save(path)
    return paths


@pytest.mark.parametrize("step", ["source", "examine"])
def test_the_clock_runs_while_a_file_is_read_and_walked_over(step, photos, release, monkeypatch):
    monkeypatch.setattr(image, "LONGEST", 0.2)
    owner, real = (Found, Found.source) if step == "source" else (image, image.examine)
    monkeypatch.setattr(owner, step, lambda *given: release.wait(60) and real(*given))
    (found,) = prepare_ahead([Found(str(photos[1]))], OFFICIAL, threads=1)
    assert found.fault == "it took longer than 0.2 seconds to decode"


def test_an_image_does_not_wait_for_a_decoder_without_an_end(photos, release, monkeypatch):
    """The first decoder holds all memory and never comes back: it is a fault, and so is each that waits for its memory."""
    monkeypatch.setattr(image, "LONGEST", 0.2)
    monkeypatch.setattr(image, "LARGEST_HELD", 1000)
    decode, prepared, begun = decoding.Examined.decode, ahead.Decoding.prepared, threading.Event()

    def without_end(self, *how):
        if self.look.width == 7:
            begun.set()
            release.wait(60)
        return decode(self, *how)

    def in_turn(self, found, *given):
        """The others begin, with their clocks, as soon as the first has all memory."""
        return (found.name != str(photos[0]) and begun.wait(60), prepared(self, found, *given))[1]

    monkeypatch.setattr(decoding.Examined, "decode", without_end)
    monkeypatch.setattr(ahead.Decoding, "prepared", in_turn)
    faults = [found.fault for found in prepare_ahead(find_images(photos), OFFICIAL, threads=2)]
    assert faults == ["it took longer than 0.2 seconds to decode", HELD, HELD]


def test_a_budget_waits_as_long_as_something_is_given_back():
    budget = Budget(10, 0.3)
    with budget.of(10) as change:
        with pytest.raises(TimeoutError, match="holds the memory"), budget.of(1):
            pass
        assert not change(4) or budget.used == 4
        with budget.of(6) as other:
            assert not change(5) and budget.used == 10
            assert other(1) and change(9) and not other(2)
    assert budget.used == 0


def test_a_clock_that_is_paused_does_not_run():
    job = Job(lambda job: None)
    job.begin()
    before = job.began
    with job.paused():
        assert job.began is None
    assert job.began >= before


def test_who_needs_more_than_is_left_lets_go_and_reads_anew(photos, monkeypatch):
    """Two that both hold what their walks take, and both need more: neither waits for the other while it holds something."""
    size = photos[0].stat().st_size
    monkeypatch.setattr(image, "LARGEST_HELD", 3 * image.walked(size))
    both, seen, lock = threading.Barrier(2), [], threading.Lock()
    real = image.examine

    def examine(source, channels, _):
        with lock:
            seen.append(source)
            first = len(seen) <= 2
        if first:
            both.wait(60)
        return real(source, channels)

    monkeypatch.setattr(image, "examine", examine)
    monkeypatch.setattr(image.bounds.Look, "held", property(lambda self: 2 * image.walked(size) + 99))
    found = list(prepare_ahead(find_images(photos[:2]), OFFICIAL, threads=2))
    assert [one.fault for one in found] == ["", ""] and len(seen) in (3, 4)


@pytest.fixture
def no_threads(monkeypatch):
    """A system that starts no thread, as where a limit on processes is reached."""

    def start(self):
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", start)


def test_without_any_thread_images_are_decoded_in_this_one(photos, no_threads):
    assert [found.fault for found in prepare_ahead(find_images(photos), OFFICIAL, threads=2)] == ["", "", ""]
    assert alone(lambda: threading.current_thread(), 60) is threading.current_thread()


def test_what_takes_threads_to_decode_says_so(no_threads):
    with pytest.raises(image.ImageError, match=r"^the system gives no more threads, and decoding it takes two$"):
        image.decode(encode(Image.new("RGB", (9, 9)), "TIFF", compression="tiff_lzw"))


def test_a_thread_that_cannot_start_is_not_counted(monkeypatch):
    threads, starts = Threads(2, "test"), []
    real = threading.Thread.start

    def start(self):
        starts.append(self)
        if len(starts) > 1:
            raise RuntimeError("can't start new thread")
        real(self)

    monkeypatch.setattr(threading.Thread, "start", start)
    jobs = [threads.submit(lambda job, number=number: number) for number in range(5)]
    assert [threads.result(job, 60) for job in jobs] == [0, 1, 2, 3, 4] and threads.running == 1
    threads.close()
