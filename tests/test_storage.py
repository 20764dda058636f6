"""Atomic, checksummed files: kills, full disks, damage, concurrent writers."""

import errno
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mvae_tf import storage

# Loads the module alone, so that a killed process costs no import of TensorFlow.
LOAD_STORAGE = f"""
import importlib.util, os, resource, signal, sys
spec = importlib.util.spec_from_file_location("storage", {storage.__file__!r})
storage = importlib.util.module_from_spec(spec)
spec.loader.exec_module(storage)
"""

# Dies before or after the n-th call of os.fsync and os.replace together.
KILL_AT = """
path, stage, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
calls = 0
def killing(function):
    def call(*arguments, **keywords):
        global calls
        calls += 1
        if calls == stage and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **keywords)
        if calls == stage and when == "after":
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return call
os.fsync, os.replace = killing(os.fsync), killing(os.replace)
storage.write_text(path, "new " * 1000)
print(calls)
"""
OLD, NEW = "old " * 2000, "new " * 1000
STAGES = 9  # 3 files are written, each with 2 fsyncs and a rename


def run_python(code, *arguments):
    return subprocess.run(
        [sys.executable, "-c", LOAD_STORAGE + code, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=60,
    )


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def assert_sha256sum_agrees(folder):
    if not shutil.which("sha256sum"):
        pytest.skip("sha256sum is not installed")
    command = ["sha256sum", "--check", "--strict", storage.MANIFEST]
    result = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.fixture
def stored(tmp_path):
    """Path of a verified file with the content OLD."""
    path = tmp_path / "run" / "model.keras"
    storage.write_text(path, OLD)
    return path


def test_written_file_is_listed_and_verifies(stored):
    assert stored.read_text() == OLD
    assert storage.verify(stored) is True
    assert names(stored.parent) == [storage.MANIFEST, "model.keras"]
    assert_sha256sum_agrees(stored.parent)


def test_temporary_has_the_folder_and_the_suffix_of_the_target(tmp_path):
    with storage.write(tmp_path / "model.keras") as temporary:
        assert temporary.parent == tmp_path
        assert temporary.suffix == ".keras"
        assert temporary.name.startswith(f".tmp-{os.getpid()}-")
        temporary.write_bytes(b"x")
    assert not temporary.exists()


def test_overwriting_leaves_one_digest(stored):
    storage.write_text(stored, NEW)
    assert stored.read_text() == NEW
    assert storage.verify(stored)
    assert (stored.parent / storage.MANIFEST).read_text().count("model.keras") == 1


def test_unlisted_file_is_not_verified(tmp_path):
    (tmp_path / "foreign.txt").write_text("x")
    assert storage.verify(tmp_path / "foreign.txt") is False
    storage.write_text(tmp_path / "own.txt", "y")
    assert storage.verify(tmp_path / "foreign.txt") is False


def test_exception_in_the_block_keeps_the_old_file(stored):
    def write_half():
        with storage.write(stored) as temporary:
            temporary.write_text("half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert stored.read_text() == OLD
    assert storage.verify(stored)
    assert names(stored.parent) == [storage.MANIFEST, "model.keras"]


@pytest.mark.parametrize("name", ["a\nb", "a\rb", "a\\b"])
def test_name_that_a_manifest_cannot_hold_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match="Expected a file name without"):
        storage.write_text(tmp_path / name, "x")
    assert names(tmp_path) == []


# === Kills ===


def test_stages_of_a_write_are_as_many_as_the_kill_tests_visit(stored):
    result = run_python(KILL_AT, stored, 0, "never")
    assert result.stdout.strip() == str(STAGES)


@pytest.mark.parametrize("listed", [True, False], ids=["listed", "unlisted"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stage", range(1, STAGES + 1))
def test_kill_while_overwriting(stored, stage, when, listed):
    if not listed:
        (stored.parent / storage.MANIFEST).unlink()
    assert run_python(KILL_AT, stored, stage, when).returncode == -9
    assert stored.read_text() in (OLD, NEW)
    assert storage.verify(stored) or not listed

    storage.clean_temporaries(stored.parent)
    assert set(names(stored.parent)) <= {storage.MANIFEST, "model.keras"}
    storage.write_text(stored, "newer")
    assert storage.verify(stored)
    assert_sha256sum_agrees(stored.parent)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("stage", range(1, STAGES + 1))
def test_kill_while_writing_the_first_time(tmp_path, stage, when):
    path = tmp_path / "model.keras"
    assert run_python(KILL_AT, path, stage, when).returncode == -9
    if path.exists():
        assert path.read_text() == NEW
        assert storage.verify(path)

    storage.clean_temporaries(tmp_path)
    storage.write_text(tmp_path / "other.txt", "x")
    assert_sha256sum_agrees(tmp_path)


def test_kill_in_the_middle_of_the_block(stored):
    code = """
with storage.write(sys.argv[1]) as temporary:
    temporary.write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert run_python(code, stored).returncode == -9
    assert stored.read_text() == OLD
    assert storage.verify(stored)
    assert len(names(stored.parent)) == 3
    storage.clean_temporaries(stored.parent)
    assert names(stored.parent) == [storage.MANIFEST, "model.keras"]


def test_a_temporary_goes_though_its_number_is_that_of_another_process(tmp_path):
    (tmp_path / f".tmp-{os.getppid()}-a.txt").write_text("x")
    (tmp_path / ".tmp-mine.txt").write_text("x")
    storage.clean_temporaries(tmp_path)
    assert names(tmp_path) == [".tmp-mine.txt"]


@pytest.mark.skipif(sys.platform != "linux", reason="threads have no such numbers")
def test_a_thread_is_no_running_process():
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait)
    thread.start()
    try:
        assert not storage.is_running(thread.native_id)
        assert storage.is_running(os.getpid())
    finally:
        ended.set()
        thread.join()


# === Failing disks ===


@pytest.mark.parametrize("limit", [10, 5000], ids=["at once", "half way"])
def test_full_disk_keeps_the_old_file(stored, limit):
    code = f"""
resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}))
try:
    storage.write_text(sys.argv[1], "new " * 2000)
except storage.StorageError as error:
    print(error)
"""
    result = run_python(code, stored)
    assert result.stdout == f"cannot write {stored}: File too large\n", result.stderr
    assert stored.read_text() == OLD
    assert storage.verify(stored)
    assert names(stored.parent) == [storage.MANIFEST, "model.keras"]


def test_full_disk_for_the_manifest_alone_keeps_the_old_file(stored):
    code = """
resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50))
try:
    storage.write_text(sys.argv[1], "tiny")
except storage.StorageError as error:
    print(error)
"""
    result = run_python(code, stored)
    assert result.stdout == f"cannot write {stored}: File too large\n", result.stderr
    assert stored.read_text() == OLD
    assert storage.verify(stored)
    assert names(stored.parent) == [storage.MANIFEST, "model.keras"]


@pytest.mark.parametrize("function", ["fsync", "replace"])
@pytest.mark.parametrize("failing", range(1, 7))
def test_error_of_any_system_call_leaves_a_file_that_verifies(
    stored, monkeypatch, function, failing
):
    real, calls = getattr(os, function), []

    def fail(*arguments):
        calls.append(arguments)
        if len(calls) == failing:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(*arguments)

    monkeypatch.setattr(os, function, fail)
    total = {"fsync": 6, "replace": 3}[function]
    if failing <= total:
        with pytest.raises(storage.StorageError, match="model.keras: No space left"):
            storage.write_text(stored, NEW)
    else:
        storage.write_text(stored, NEW)
        assert len(calls) == total
    monkeypatch.undo()
    assert stored.read_text() in (OLD, NEW)
    assert storage.verify(stored)
    assert names(stored.parent) == [storage.MANIFEST, "model.keras"]


def test_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(storage.StorageError, match=r"cannot write .*file/a\.txt: "):
        storage.write_text(tmp_path / "file" / "a.txt", "x")


def test_file_system_without_locks(tmp_path, monkeypatch):
    def no_locks(*arguments):
        raise OSError(errno.EBADF, "no locks here")

    monkeypatch.setattr(storage.fcntl, "flock", no_locks)
    storage.write_text(tmp_path / "a.txt", "x")
    assert storage.verify(tmp_path / "a.txt")


# === Damage ===


@settings(max_examples=50, deadline=None)
@given(
    content=st.binary(min_size=1, max_size=200),
    position=st.integers(min_value=0),
    flip=st.integers(min_value=1, max_value=255),
)
def test_any_flipped_byte_and_any_truncation_is_found(content, position, flip):
    position %= len(content)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "model.keras")
        with storage.write(path) as temporary:
            temporary.write_bytes(content)
        changed = bytearray(content)
        changed[position] ^= flip
        for damaged in (bytes(changed), content[:position], content + b"\0"):
            path.write_bytes(damaged)
            with pytest.raises(storage.DamagedFile):
                storage.verify(path)
        path.write_bytes(content)
        assert storage.verify(path)


def test_damage_message_names_file_and_digests_in_one_line(stored):
    expected = (stored.parent / storage.MANIFEST).read_text().split()[0]
    stored.write_text("")
    empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    with pytest.raises(storage.DamagedFile) as caught:
        storage.verify(stored)
    assert str(caught.value) == (
        f"{stored} is damaged: expected SHA-256 {expected}, got {empty}"
    )


@pytest.mark.parametrize(
    "manifest", [b"nonsense\n", b"0123", b"\xff\xfe\n", b"0" * 64 + b"  model.ker"]
)
def test_damaged_manifest(stored, manifest):
    (stored.parent / storage.MANIFEST).write_bytes(manifest)
    with pytest.raises(
        storage.DamagedFile, match="checksums.sha256 is damaged: line 1"
    ):
        storage.verify(stored)


def test_listed_file_that_is_gone(stored):
    stored.unlink()
    with pytest.raises(FileNotFoundError):
        storage.verify(stored)


def test_remove_forgets_the_file(stored):
    other = stored.with_name("other.txt")
    storage.write_text(other, "x")
    storage.remove(stored)
    storage.remove(stored.with_name("never.there"))
    assert names(stored.parent) == [storage.MANIFEST, "other.txt"]
    assert_sha256sum_agrees(stored.parent)


# === JSON ===


@settings(max_examples=25, deadline=None)
@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner) | st.dictionaries(st.text("ab é"), inner),
        max_leaves=8,
    )
)
def test_json_round_trip(value):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "config.json")
        storage.write_json(path, value)
        assert storage.read_json(path) == value


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_json_refuses_numbers_that_json_lacks(tmp_path, value):
    with pytest.raises(ValueError, match="not JSON compliant"):
        storage.write_json(tmp_path / "metrics.json", {"elbo": value})
    assert names(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b'{"a": ', b"\xff\xff"])
def test_unlisted_bad_json_names_the_file(tmp_path, content):
    (tmp_path / "config.json").write_bytes(content)
    with pytest.raises(storage.DamagedFile, match=r"config\.json is not valid JSON"):
        storage.read_json(tmp_path / "config.json")


def test_json_altered_by_hand_is_found(tmp_path):
    path = tmp_path / "config.json"
    storage.write_json(path, {"seed": 1})
    path.write_text('{"seed": 2}')
    with pytest.raises(storage.DamagedFile, match=r"config\.json is damaged"):
        storage.read_json(path)


# === Writers at the same time ===


def test_threads_and_processes_lose_no_line(tmp_path):
    code = """
for number in range(15):
    storage.write_text(f"{sys.argv[1]}/process-{sys.argv[2]}-{number}", str(number))
"""
    with ThreadPoolExecutor(8) as pool:
        processes = [pool.submit(run_python, code, tmp_path, i) for i in range(3)]
        threads = [
            pool.submit(storage.write_text, tmp_path / f"thread-{i}", "x" * i)
            for i in range(30)
        ]
    assert [process.result().returncode for process in processes] == [0, 0, 0]
    assert [thread.result() for thread in threads] == [None] * 30
    assert len(names(tmp_path)) == 3 * 15 + 30 + 1
    assert all(
        storage.verify(path)
        for path in tmp_path.iterdir()
        if path.name != storage.MANIFEST
    )
    assert_sha256sum_agrees(tmp_path)
