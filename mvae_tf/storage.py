"""Files that appear whole or not at all, with checksums that reading verifies.

`write` hands out a temporary path beside the target and renames it into place once its
bytes are on the disk. The folder's manifest, `checksums.sha256`, has the format of the
`sha256sum` tool, so `sha256sum -c checksums.sha256` checks a folder on its own.

A process may be killed at any instant. While a file is being replaced, the manifest
lists the digests of its old and its new content: whichever of the two is found there
verifies.
"""

import contextlib
import hashlib
import json
import os
import re
import socket
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError as error:
    message = "mvae_tf runs on Linux and macOS, and on Windows inside WSL 2."
    raise ImportError(message) from error

__all__ = [
    "MANIFEST",
    "DamagedFile",
    "StorageError",
    "clean_temporaries",
    "in_use",
    "is_running",
    "read_json",
    "remove",
    "sync",
    "verify",
    "verify_archive",
    "warn",
    "write",
    "write_json",
    "write_text",
]

MANIFEST = "checksums.sha256"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)\n")
_TEMPORARY = re.compile(r"\.tmp-\d{1,9}-.+")
_LOCK = ".lock"
# Where in a run folder the one process writes that may.
_PARTS = ("", "checkpoints", "figures", "logs")
# Archives of models and checkpoints are hardly compressed.
_EXPANSION = 20

StrPath = str | os.PathLike[str]


class StorageError(OSError):
    """A file that could not be written; what is there is whole and verifies."""


class DamagedFile(ValueError):
    """A file whose content is not what was written."""


@contextlib.contextmanager
def write(path: StrPath) -> Iterator[Path]:
    """Context whose temporary file becomes `path` when the block ends well.

    The temporary file lies in the folder of `path`, which is made if it is missing, and
    has its suffix. When the block raises, the temporary file is removed and `path` is
    what it was before.

    Args:
        path: File to make or to replace.

    Yields:
        The temporary path, at which the block must write a file.

    Raises:
        StorageError: The file cannot be written: disk full, no permission, and so on.
            An `OSError` of the block counts as this.
        ValueError: A name that a manifest line cannot hold.

    Example:
        >>> with storage.write("run/model.keras") as temporary:
        ...     model.save(temporary)
    """
    path = Path(path)
    if re.search(r"[\n\r\\]", path.name):
        raise ValueError(
            f"expected a file name without line break or backslash, got {path.name!r}"
        )
    temporary = _temporary(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        _publish(temporary, path)
    except StorageError:
        raise
    except OSError as error:
        raise StorageError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def write_text(path: StrPath, text: str) -> None:
    """Text file in UTF-8, written as `write` does."""
    with write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: StrPath, value: Any) -> None:
    """JSON file, indented, written as `write` does.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON does not have.
        TypeError: `value` holds something that is no JSON type.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: StrPath) -> Any:
    """Value of a JSON file, verified if it is listed.

    Raises:
        DamagedFile: The checksum differs, or the content is not JSON.
    """
    verify(path)
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise DamagedFile(f"{path} is not valid JSON: {error}") from error


def verify(path: StrPath) -> bool:
    """Whether the file is listed in its folder's manifest; a listed one is checked.

    Returns:
        True for a file that matches its digest, False for one that is not listed.

    Raises:
        DamagedFile: The file's digest is not the listed one, or the file is not listed
            and a line that may be its own is damaged.
        FileNotFoundError: A listed file does not exist.
    """
    path = Path(path)
    if not (path.parent / MANIFEST).exists():
        return False
    with _locked(path.parent):
        entries, damaged = _read_manifest(path.parent)
        expected = entries.get(path.name)
        if expected is None and damaged:
            raise DamagedFile(
                f"{path.parent / MANIFEST} is damaged: line {min(damaged)} is not a "
                f"SHA-256 and a file name, and none lists {path.name}"
            )
        if expected is None:
            return False
        actual = _digest(path)
    if actual not in expected:
        raise DamagedFile(
            f"{path} is damaged: expected SHA-256 {' or '.join(sorted(expected))}, "
            f"got {actual}"
        )
    return True


def verify_archive(path: StrPath) -> None:
    """Checks a `.npz` or `.keras` file by its digest, or else by its own checksums.

    Such a file is a zip archive, which holds a CRC-32 of each member. Where all of them
    agree, but the manifest does not list the file or lists another digest, it is the
    manifest that is damaged: a warning on stderr says so, and the file is intact.

    Raises:
        DamagedFile: The file is damaged, or claims to unpack to many times its size.
        FileNotFoundError: The file does not exist.
    """
    path = Path(path)
    unlisted = f"{path} is not listed in {MANIFEST}"
    try:
        doubt = None if verify(path) else unlisted
    except DamagedFile as error:
        doubt = str(error)
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                if member.file_size > _EXPANSION * max(path.stat().st_size, 2**16):
                    raise DamagedFile(
                        f"{path} is refused: its {member.filename} claims to unpack to "
                        f"{member.file_size} bytes"
                    )
            damaged = doubt and archive.testzip()
    except (DamagedFile, FileNotFoundError):
        raise
    except Exception as error:  # A flipped bit asks for passwords, codecs and more.
        unreadable = f"{path} is no {path.suffix} file: {error}"
        known = doubt not in (None, unlisted)
        raise DamagedFile(doubt if known else unreadable) from error
    if damaged:
        raise DamagedFile(f"{path} is damaged: {damaged} fails its checksum")
    if doubt and (path.parent / MANIFEST).exists():
        warn(f"{doubt}; its own checksums agree, so it is used")


def warn(message: str) -> None:
    """Prints a warning, in one line, on stderr."""
    print(f"mvae-tf: warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def in_use(folder: StrPath) -> Iterator[None]:
    """Context of the one process that may write into a run folder.

    What killed processes left half written there is removed. The lock is the operating
    system's, on a file `.lock` in the folder, and ends with the process, however it
    ends. Where a file system has no locks, there is none.

    Args:
        folder: Folder that exists.

    Raises:
        StorageError: Another process is using the folder.
    """
    descriptor = os.open(Path(folder) / _LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.read(descriptor, 200).decode(errors="replace")
            raise StorageError(
                f"{folder} is in use by {holder or 'another process'}: wait until it "
                "has ended, or name another folder"
            ) from error
        except OSError:
            pass  # A network file system that has no locks.
        os.ftruncate(descriptor, 0)
        os.write(
            descriptor, f"process {os.getpid()} of {socket.gethostname()}".encode()
        )
        for name in _PARTS:
            clean_temporaries(Path(folder) / name)
        yield
    finally:
        os.close(descriptor)


def remove(path: StrPath) -> None:
    """Removal of a file, if it exists, and of its manifest line."""
    path = Path(path)
    with _locked(path.parent):
        path.unlink(missing_ok=True)
        entries, damaged = _read_manifest(path.parent)
        if path.name in entries:
            _write_manifest(path.parent, entries, damaged)


def clean_temporaries(folder: StrPath) -> None:
    """Removal of the temporary files that killed processes left in `folder`.

    Nobody else may be writing there (see `in_use`). Whether the process that a name
    tells is running is not asked: its number may be that of another one by now.
    """
    for path in Path(folder).glob(".tmp-*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _publish(temporary, path):
    folder, name = path.parent, path.name
    new = _digest(temporary)
    with _locked(folder):
        entries, damaged = _read_manifest(folder)
        old = entries.get(name) or ({_digest(path)} if path.exists() else set())
        _write_manifest(folder, entries | {name: old | {new}}, damaged, keep=name)
        _replace(temporary, path)
        _write_manifest(folder, entries | {name: {new}}, damaged)


def _read_manifest(folder):
    """Dict of name -> set of accepted digests, and dict of number -> damaged line."""
    path = folder / MANIFEST
    entries, damaged = {}, {}
    if path.exists():
        with path.open(
            encoding="utf-8", errors="surrogateescape", newline="\n"
        ) as file:
            for number, line in enumerate(file, start=1):
                if match := _LINE.fullmatch(line):
                    entries.setdefault(match[2], set()).add(match[1])
                else:
                    damaged[number] = line
    return entries, damaged


def _write_manifest(folder, entries, damaged, keep=None):
    """Writes the entries of the files that exist, and of `keep`, which is to come.

    Damaged lines stay: what they may have listed is not to count as never listed.
    """
    lines = [
        f"{digest}  {name}\n"
        for name in sorted(entries)
        if name == keep or (folder / name).exists()
        for digest in sorted(entries[name])
    ]
    lines += [line.rstrip("\n") + "\n" for line in damaged.values()]
    path = folder / MANIFEST
    temporary = _temporary(path)
    try:
        temporary.write_text("".join(lines), encoding="utf-8", errors="surrogateescape")
        sync(temporary)
        _replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _temporary(path):
    return path.with_name(f".tmp-{os.getpid()}-{path.name}")


def _replace(temporary, path):
    os.replace(temporary, path)
    # A rename outlives a power cut only when the folder itself is on the disk.
    sync(path.parent)


def sync(path: str | os.PathLike) -> None:
    """Waits until a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder):
    """Context that one thread of one process at a time is in."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot lock a folder. There, writers that work in
        # one folder at the same time could lose a manifest line, and no more than that.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_running(process_id: int) -> bool:
    """Whether a process of this machine is running, under any user."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It runs, under another user.
    # On Linux the number may be that of a thread of some other process.
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process_id}/status").read_text(errors="replace")
        return f"\nTgid:\t{process_id}\n" in status
    return True
