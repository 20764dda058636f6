"""Files that are written whole or not at all, with checksums verified on reading.

`write` gives its caller a temporary path in the folder of the file, and renames the
temporary file once its bytes are on the disk. The manifest of the folder,
`checksums.sha256`, has the format of the `sha256sum` tool, so that
`sha256sum -c checksums.sha256` checks the folder without this library.

A process may be killed at any instant. Therefore the manifest lists the digests of both
the old and the new content while a file is being replaced, and either content verifies.
"""

import contextlib
import csv
import hashlib
import io
import json
import os
import re
import socket
import sys
import zipfile
from collections.abc import Iterator, Mapping, Sequence
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
    "write_csv",
    "write_json",
    "write_text",
]

MANIFEST = "checksums.sha256"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)\n")
_TEMPORARY = re.compile(r"\.tmp-\d{1,9}-.+")
_LOCK = ".lock"
# Folders within a run folder to which a run writes.
_PARTS = ("", "checkpoints", "figures", "logs")
# A file in an archive may unpack to at most this many times the size of the archive,
# because archives of models and checkpoints are hardly compressed.
_EXPANSION = 20

StrPath = str | os.PathLike[str]


class StorageError(OSError):
    """A file cannot be written; the file that it would replace is intact."""


class DamagedFile(ValueError):
    """The content of a file is not what was written."""


@contextlib.contextmanager
def write(path: StrPath) -> Iterator[Path]:
    """Yield a temporary path, whose file becomes `path` when the block succeeds.

    The temporary file is in the folder of `path`, which is made if it is missing, and
    has the suffix of `path`. If the block raises an error, the temporary file is
    removed and `path` is not changed.

    Args:
        path: path of the file to make or to replace.

    Yields:
        The temporary path, at which the block must write a file.

    Raises:
        StorageError: the file cannot be written, for example because the disk is full.
            An `OSError` of the block is raised as this error, too.
        ValueError: the name of the file has a line break or a backslash, which the
            manifest cannot hold.

    Example:
        >>> with storage.write("run/model.keras") as temporary:
        ...     model.save(temporary)
    """
    path = Path(path)
    if re.search(r"[\n\r\\]", path.name):
        raise ValueError(
            f"Expected a file name without line break or backslash, got {path.name!r}."
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
    """Write a text file in UTF-8, as `write` does.

    Args:
        path: path of the file to make or to replace.
        text: str, content of the file.
    """
    with write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_csv(path: StrPath, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write a table with a header, as `write` does.

    Args:
        path: path of the file to make or to replace.
        rows: dicts with the same keys, at least one; each becomes a line.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_text(path, text.getvalue())


def write_json(path: StrPath, value: Any) -> None:
    """Write an indented JSON file, as `write` does.

    Args:
        path: path of the file to make or to replace.
        value: dict, list, text, number, bool or None, perhaps nested.

    Raises:
        ValueError: `value` holds NaN or infinity, which JSON does not have.
        TypeError: `value` holds an object of another type.
    """
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def read_json(path: StrPath) -> Any:
    """Read a JSON file, and verify it if the manifest lists it.

    Args:
        path: path of the file to read.

    Raises:
        DamagedFile: the checksum differs, or the content is not JSON.
        FileNotFoundError: there is no such file.
    """
    verify(path)
    try:
        return json.loads(Path(path).read_bytes())
    except ValueError as error:
        raise DamagedFile(f"{path} is not valid JSON: {error}") from error


def verify(path: StrPath) -> bool:
    """Check a file against its digest in the manifest of its folder.

    Args:
        path: path of the file to check.

    Returns:
        True if the manifest lists the file, False if it does not.

    Raises:
        DamagedFile: the file has another digest than the listed one, or no line lists
            the file and a damaged line may be the one that did.
        FileNotFoundError: the manifest lists the file, but it does not exist.
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
    """Check an `.npz` or `.keras` file by its digest, or else by its own checksums.

    Such a file is a zip archive, which has a CRC-32 checksum of each of its members. If
    these agree, but the manifest does not list the file or lists another digest, the
    manifest is what is damaged. The file is then accepted, with a warning on stderr.

    Args:
        path: path of the file to check.

    Raises:
        DamagedFile: the file is damaged, or claims to unpack to many times its size.
        FileNotFoundError: the file does not exist.
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
    except Exception as error:  # A flipped bit can cause errors of many kinds.
        unreadable = f"{path} is no {path.suffix} file: {error}"
        known = doubt not in (None, unlisted)
        raise DamagedFile(doubt if known else unreadable) from error
    if damaged:
        raise DamagedFile(f"{path} is damaged: {damaged} fails its checksum")
    if doubt and (path.parent / MANIFEST).exists():
        warn(f"{doubt}; its own checksums agree, so it is used")


def warn(message: str) -> None:
    """Print a warning on stderr.

    Args:
        message: str, text of one line.
    """
    print(f"mvae-tf: warning: {message}", file=sys.stderr)


@contextlib.contextmanager
def in_use(folder: StrPath) -> Iterator[None]:
    """Make this process the only one that may write to a run folder, in a context.

    Temporary files of killed processes are removed from the folder. The lock is one of
    the operating system on a file `.lock` in the folder, so that it ends with the
    process, even if the process is killed. On a file system that has no locks, nothing
    is locked.

    Args:
        folder: path of a folder that exists.

    Raises:
        StorageError: another process is using the folder.
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
    """Remove a file, if it exists, and its line in the manifest.

    Args:
        path: path of the file to remove.
    """
    path = Path(path)
    with _locked(path.parent):
        path.unlink(missing_ok=True)
        entries, damaged = _read_manifest(path.parent)
        if path.name in entries:
            _write_manifest(path.parent, entries, damaged)


def clean_temporaries(folder: StrPath) -> None:
    """Remove the temporary files that killed processes left in a folder.

    No other process may be writing to the folder (see `in_use`). The function does not
    check whether the process in the name of a file is running, because another process
    may have its number by now.

    Args:
        folder: path of the folder to clean.
    """
    for path in Path(folder).glob(".tmp-*"):
        if _TEMPORARY.fullmatch(path.name) and path.is_file():
            path.unlink(missing_ok=True)


def _publish(temporary, path):
    """Rename a temporary file to its path, and write its digest to the manifest."""
    folder, name = path.parent, path.name
    new = _digest(temporary)
    with _locked(folder):
        entries, damaged = _read_manifest(folder)
        old = entries.get(name) or ({_digest(path)} if path.exists() else set())
        _write_manifest(folder, entries | {name: old | {new}}, damaged, keep=name)
        _replace(temporary, path)
        _write_manifest(folder, entries | {name: {new}}, damaged)


def _read_manifest(folder):
    """Read the manifest of a folder.

    Returns:
        Dict from the name of a file to the set of its valid digests, and dict from the
        number of a damaged line to the line.
    """
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
    """Write the entries of the files that exist, and that of the file `keep`.

    Damaged lines are kept. Otherwise the files that they listed would count as files
    that were never listed.
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
    # After a power cut, a rename persists only if the folder itself is on the disk.
    sync(path.parent)


def sync(path: str | os.PathLike) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk.

    Args:
        path: path of the file or folder.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _locked(folder):
    """Lock a folder, so that only one thread of one process is in the context."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        # Some network file systems cannot lock a folder. Processes that write to one
        # folder at the same time may then lose a line of the manifest, but no file.
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _digest(path):
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_running(process_id: int) -> bool:
    """Return whether a process of this machine is running, under any user.

    Args:
        process_id: int, number of the process.
    """
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # The process runs under another user.
    # On Linux the number may be that of a thread of some other process.
    with contextlib.suppress(OSError):
        status = Path(f"/proc/{process_id}/status").read_text(errors="replace")
        return f"\nTgid:\t{process_id}\n" in status
    return True
