"""Commands that end early: by a signal, a full disk, too little memory or a fault of their own."""

import os
import signal
import subprocess
import sys

import pytest
from support import CHECKPOINTS, EXAMPLES, ROOT

from minivan.checkpoint import bundled

BUNDLED = bundled()[0]
COFFEE = EXAMPLES / "coffee.jpg"
SMALL = ["--weights", BUNDLED, "--size", "32"]
WRITERS = {  # each command that writes a file, OUT being the file
    "convert": ["convert", CHECKPOINTS / "official.pth.tar", "OUT/net"],
    "oracle record": [
        "oracle",
        "record",
        COFFEE,
        "--model",
        BUNDLED,
        "--engine",
        "numpy",
        "--layers",
        "norm*",
        "-o",
        "OUT/trace",
    ],
    "oracle vectors": ["oracle", "vectors", "--op", "global_average_pool", "-o", "OUT/vectors"],
    "explain": ["explain", COFFEE, *SMALL, "--method", "cam", "--engine", "numpy", "-o", "OUT/figure.png"],
    "explore": ["explore", "--light", "--weights", BUNDLED, "--engine", "numpy", "-o", "OUT/page.html"],
    "receptive-field": ["receptive-field", COFFEE, *SMALL, "-o", "OUT/figure.svg"],
    "lka": ["lka", "--plot", "OUT/figure.pdf"],
    "fetch": ["fetch", "b0", "--url", "URL"],
}  # fmt: skip

# What a writer does between its last byte and the file's name is to wait here for the signal.
WAITING = """
import os, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background has none
for number in (signal.SIGHUP, signal.SIGQUIT):  # nor one that nohup began, or a shell
    signal.signal(number, signal.SIG_DFL)
if sys.argv[1] == "named":
    del os.O_TMPFILE
def fsync(file):
    print("written", flush=True)
    for _ in range(6000):  # briefly each: a signal that comes just before a sleep begins is heard when it ends
        time.sleep(0.01)
os.fsync = fsync
from minivan.cli import main
sys.exit(main(sys.argv[2:]))
"""


def files(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def ended(command, how, kind, tmp_path, server):
    """Run a writer until its file is written and has no name yet, end it by a signal, and return status and standard error."""
    words = [str(word).replace("OUT", str(tmp_path)).replace("URL", server.url()) for word in command]
    child = subprocess.Popen(
        [sys.executable, "-c", WAITING, kind, *words],
        env=os.environ | {"MINIVAN_HOME": str(tmp_path), "NUMBA_NUM_THREADS": "1"},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while child.stdout.readline() not in ("written\n", ""):
        pass
    child.send_signal(how)
    errors = child.communicate(timeout=60)[1]
    return child.returncode, errors


STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGHUP: 129, signal.SIGQUIT: 131, signal.SIGXCPU: 152}


@pytest.mark.parametrize(("how", "kind"), [*((how, "nameless") for how in STATUS), (signal.SIGTERM, "named")])
def test_a_signal_leaves_nothing_and_is_the_exit_status(how, kind, tmp_path, server):
    assert ended(WRITERS["convert"], how, kind, tmp_path, server) == (STATUS[how], "")
    assert files(tmp_path) == []


def test_a_killed_writer_leaves_nothing_where_files_can_be_without_a_name(tmp_path, server):
    assert ended(WRITERS["convert"], signal.SIGKILL, "nameless", tmp_path, server)[0] == -signal.SIGKILL
    assert files(tmp_path) == [] or not hasattr(os, "O_TMPFILE")


def test_a_killed_writer_leaves_one_hidden_file_elsewhere_and_what_was_there(tmp_path, server):
    (tmp_path / "net").write_bytes(b"old")
    assert ended(WRITERS["convert"], signal.SIGKILL, "named", tmp_path, server)[0] == -signal.SIGKILL
    left, net = files(tmp_path)
    assert net == "net" and (tmp_path / net).read_bytes() == b"old"
    assert left.startswith(".minivan-") and left.endswith(".part")


@pytest.mark.once
@pytest.mark.parametrize(("how", "kind"), [(signal.SIGINT, "nameless"), (signal.SIGTERM, "named")])  # all of them: see above
@pytest.mark.parametrize("writer", list(WRITERS))
def test_every_writer_leaves_nothing(writer, how, kind, tmp_path, server):
    assert ended(WRITERS[writer], how, kind, tmp_path, server) == (STATUS[how], "")
    assert [name for name in files(tmp_path) if name not in ("downloads", "weights")] == []


@pytest.mark.once
@pytest.mark.parametrize("writer", [name for name in WRITERS if name not in ("fetch", "oracle vectors")])
def test_every_killed_writer_leaves_nothing(writer, tmp_path, server):
    """But `fetch` and `oracle vectors`, which work in folders: those have names of their own."""
    assert ended(WRITERS[writer], signal.SIGKILL, "nameless", tmp_path, server)[0] == -signal.SIGKILL
    assert files(tmp_path) == [] or not hasattr(os, "O_TMPFILE")


def test_a_killed_writer_of_a_folder_leaves_a_hidden_one(tmp_path, server):
    """The folder has its name when all is in it: no port is compared with vectors of which some are missing."""
    assert ended(WRITERS["oracle vectors"], signal.SIGKILL, "named", tmp_path, server)[0] == -signal.SIGKILL
    left = [path.name for path in tmp_path.iterdir()]
    assert len(left) == 1 and left[0].startswith(".minivan-") and left[0].endswith(".part")


# A file may grow to this size and no further, which is what a full disk is to whoever writes.
FULL = """
import resource, sys
sys.dont_write_bytecode = True  # Python keeps what it could write of a module, and stumbles over half of it the next time
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]),) * 2)
from minivan.cli import main
sys.exit(main(sys.argv[2:]))
"""


def on_a_full_disk(command, size, tmp_path, server):
    words = [str(word).replace("OUT", str(tmp_path)).replace("URL", server.url()) for word in command]
    environment = os.environ | {"MINIVAN_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(size), *words], env=environment, capture_output=True, text=True, check=False
    )
    warned = ("kernels are compiled in this process alone", "NumbaSystemWarning")
    said = [line for line in done.stderr.splitlines() if not any(words in line for words in warned)]
    assert done.returncode == 2 and len(said) == 1 and "File too large" in said[0], done.stderr
    assert str(tmp_path) in said[0]
    assert [name for name in files(tmp_path) if name not in ("downloads", "weights")] == []


@pytest.mark.parametrize("writer", ["convert", "fetch"])
def test_a_full_disk_is_one_line(writer, tmp_path, server):
    on_a_full_disk(WRITERS[writer], 4096, tmp_path, server)


@pytest.mark.once
@pytest.mark.parametrize("size", [0, 100])
@pytest.mark.parametrize("writer", list(WRITERS))
def test_a_full_disk_is_one_line_to_every_writer(writer, size, tmp_path, server):
    on_a_full_disk(WRITERS[writer], size, tmp_path, server)


RAISING = """
import sys
from minivan import cli
from minivan.cli import summary

def run(args):
    print("half")
    raise {}

summary.run = run
sys.exit(cli.main(["summary"]))
"""


@pytest.mark.parametrize("error", ["RuntimeError('a\\x1b[2J')", "KeyError('x')", "RecursionError()", "SystemError()"])
def test_a_fault_of_minivan_is_no_answer(error):
    """Its traceback is shown, for a report; Python's own status for it, 1, would mean that layers differ."""
    done = subprocess.run([sys.executable, "-c", RAISING.format(error)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, done.stdout) == (2, "half\n")
    first, *_, last = done.stderr.splitlines()
    assert first == "Traceback (most recent call last):" and last.startswith("minivan: this is a fault of minivan itself")
    assert "\x1b" not in done.stderr


def test_a_package_that_is_missing_is_one_line(tmp_path):
    code = "import sys; sys.modules['PIL'] = None; from minivan.cli import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, "classify", COFFEE], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("minivan: the Python package PIL is not here: ") and done.stderr.count("\n") == 1


def test_what_is_ignored_stays_ignored_and_a_thread_changes_nothing():
    code = """
import signal, threading
from minivan import cli
from minivan.cli import summary

signal.signal(signal.SIGHUP, signal.SIG_IGN)
seen = []
summary.run = lambda args: seen.append((signal.getsignal(signal.SIGHUP), signal.getsignal(signal.SIGTERM))) or 0
cli.main(["summary"])
thread = threading.Thread(target=cli.main, args=(["summary"],))
thread.start()
thread.join()
(hup, term), in_thread = seen
assert hup == signal.SIG_IGN and callable(term) and in_thread == (signal.SIG_IGN, signal.SIG_DFL), seen
assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_a_signal_while_c_code_calls_python_is_not_lost():
    code = """
import ctypes, signal, sys, time
from minivan import cli
from minivan.cli import summary

callback = ctypes.CFUNCTYPE(None)(lambda: signal.raise_signal(signal.SIGTERM))

def run(args):
    callback()
    time.sleep(20)

summary.run = run
sys.exit(cli.main(["summary"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, timeout=15)
    assert (done.returncode, done.stdout, done.stderr) == (143, b"", b"")


@pytest.mark.parametrize(
    "arguments", [["summary", "--a\x1b[2J"], ["summary", "b0", "\u202eb"], ["bench", "--engine", "a\x9bb"]]
)
def test_what_the_command_line_says_wrongly_moves_no_cursor(run, arguments):
    status, _, errors = run(*arguments)
    assert status == 2 and all(c.isprintable() or c == "\n" for c in errors) and "\\" in errors


@pytest.mark.parametrize("how", ["SIGINT", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_compiled_code_that_never_returns_does_not_keep_a_command_alive(how):
    """A C function that waits for itself stands for it: Python's handlers do not run before it returns."""
    code = f"""
import ctypes, os, signal, sys, threading
from minivan import cli
from minivan.cli import ending, summary

signal.signal(signal.SIGINT, signal.default_int_handler)
ending.GRACE = 0.1
library = ctypes.CDLL(None)

def run(args):
    mutex = ctypes.create_string_buffer(64)
    library.pthread_mutex_lock(mutex)
    threading.Timer(0.1, os.kill, (os.getpid(), signal.{how})).start()
    library.pthread_mutex_lock(mutex)  # for ever

summary.run = run
sys.exit(cli.main(["summary"]))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False, capture_output=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (128 + getattr(signal, how), b"", b"")


def test_a_current_folder_that_is_gone_is_said(tmp_path):
    gone = tmp_path / "gone"
    gone.mkdir()
    code = "import os, sys; os.rmdir(os.getcwd()); from minivan.cli import main; sys.exit(main(sys.argv[1:]))"
    command = [sys.executable, "-c", code, *map(str, WRITERS["convert"])]
    done = subprocess.run(command, cwd=gone, capture_output=True, text=True, check=False)
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert done.stderr.endswith("(the current folder is not there any more: change to another)\n")


@pytest.mark.parametrize("threads", ["0", "-1", "abc", "1.5"])
def test_numbas_number_of_threads_that_is_none_is_one_line(threads, run, monkeypatch):
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    status, _, errors = run("bench", "--size", "32")
    said = f"minivan: NUMBA_NUM_THREADS is '{threads}', not a whole number of at least 1: unset it, or use --threads\n"
    assert (status, errors) == (2, said)
    assert run("classify", COFFEE, "--engine", "numpy")[0] == 0


def test_without_compiling_fast_says_so_and_numpy_answers():
    def classify(engine):
        command = [sys.executable, "-m", "minivan", "classify", COFFEE, "--engine", engine]
        environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
        return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)

    assert classify("numpy").returncode == 0
    fast = classify("fast")
    assert fast.returncode == 2 and fast.stderr.startswith("minivan: NUMBA_DISABLE_JIT is set") and fast.stderr.count("\n") == 1


CUT_SHORT = """
import sys
from minivan.cli import main, oracle
from minivan.cli.printing import say

class Report:
    within, missing = sys.argv[1] == "within", []

class Judged:
    report = Report()
    def plain(self):
        return {"rows": ["x" * 100_000]}

class Baseline:
    def judge(self, *args):
        return Judged()

import minivan.oracle as library
library.read, library.open_baseline = lambda *args: None, lambda *args: Baseline()
oracle.print_report = lambda judged, said: [say("x" * 1000, flush=True) for _ in range(100)]
status = main(["oracle", "compare", "a", "b", *sys.argv[2:]])
print(status, file=sys.stderr)
"""


@pytest.mark.parametrize("form", ["", "--json"])
@pytest.mark.parametrize(("verdict", "status"), [("within", 0), ("beyond", 1)])
def test_the_verdict_of_compare_is_its_status_though_nobody_reads_on(verdict, status, form):
    command = f"{sys.executable} -c '{CUT_SHORT}' {verdict} {form} | true"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", command.replace("'\\''", "")], capture_output=True, text=True, env=environment, check=False
    )
    assert done.stderr == f"{status}\n"


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (int(sys.argv[1]) << 20,) * 2)
from minivan.cli import main
sys.exit(main(sys.argv[2:]))
"""
EVERY = {
    "summary": ["summary"], "weights": ["weights"], "classify": ["classify", COFFEE, "--engine", "numpy"],
    "convert": WRITERS["convert"], "lka": WRITERS["lka"], "explain": WRITERS["explain"], "bench": ["bench", "--size", "32"],
    "record": WRITERS["oracle record"], "vectors": WRITERS["oracle vectors"], "warmup": ["warmup"],
    "compare": ["oracle", "compare", COFFEE, COFFEE], "field": WRITERS["receptive-field"], "fetch": WRITERS["fetch"],
}  # fmt: skip


def with_memory(megabytes, command, tmp_path, server):
    words = [str(word).replace("OUT", str(tmp_path)).replace("URL", server.url()) for word in command]
    environment = os.environ | {"MINIVAN_HOME": str(tmp_path)}
    command = [sys.executable, "-c", LIMITED, str(megabytes), *words]
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("command", ["classify", "compare"])
def test_too_little_memory_to_begin_is_one_line(command, tmp_path, server):
    done = with_memory(200, EVERY[command], tmp_path, server)
    assert done.returncode == 2 and done.stdout == "" and done.stderr.count("\n") == 1
    assert "not enough memory: the address space is limited to 200 MiB" in done.stderr


@pytest.mark.parametrize("error", ["MemoryError()", "OSError(12, 'x')", "ImportError('a.so: failed to map segment')"])
def test_no_memory_is_one_line_and_no_answer_however_it_is_said(error):
    for how in (error, f"ValueError('x') from {error}"):
        done = subprocess.run(
            [sys.executable, "-c", RAISING.format(how)], capture_output=True, text=True, check=False, cwd=ROOT
        )
        assert (done.returncode, done.stdout) == (2, "half\n") and done.stderr.startswith("minivan: not enough memory (")
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "megabytes", [pytest.param(size, marks=pytest.mark.slow if size == 250 else pytest.mark.once)
                  for size in (80, 120, 160, 250, 400, 513, 600)],
)  # fmt: skip
@pytest.mark.parametrize("command", list(EVERY))
def test_every_command_answers_or_says_in_one_line_that_memory_is_short(command, megabytes, tmp_path, server):
    done = with_memory(megabytes, EVERY[command], tmp_path, server)
    assert done.returncode in (0, 2), done.stderr
    assert done.returncode == 0 or (done.stderr.count("\n") == 1 and done.stderr.startswith("minivan: ")), done.stderr


def test_a_place_where_nothing_can_be_written_is_said_before_anything_is_read(run, tmp_path):
    """An ONNX file's numbers are checked by an engine, which may take its time to compile."""
    os.mkfifo(tmp_path / "net.onnx")
    status, _, errors = run("convert", tmp_path / "missing.pth", tmp_path / "net.onnx")
    assert status == 2 and f"{tmp_path / 'net.onnx'}: a pipe stands there" in errors
