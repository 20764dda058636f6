"""Files that appear whole or not at all, with checksums that reading verifies.

`write` hands out a temporary path beside the target and renames it into place once its
bytes are on the disk. The folder's manifest, `checksums.sha256`, has the format of the
`sha256sum` tool, so `sha256sum -c checksums.sha256` checks a folder on its own.

A process may be killed at any instant. While a file is being replaced, the manifest
lists the digests of its old and its new content: whichever of the two is found there
verifies. Linux and macOS.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = [
    "MANIFEST",
    "DamagedFile",
    "StorageError",
    "clean_temporaries",
    "read_json",
    "remove",
    "verify",
    "write",
    "write_json",
    "write_text",
]

MANIFEST = "checksums.sha256"

_LINE = re.compile(r"([0-9a-f]{64})  (.+)\n")
_TEMPORARY = re.compile(r"\.tmp-(\d{1,9})-.+")

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
        _sync(temporary)
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
        DamagedFile: The file's digest is not the listed one.
        FileNotFoundError: A listed file does not exist.
    """
    path = Path(path)
    if not (path.parent / MANIFEST).exists():
        return False
    with _locked(path.parent):
        expected = _read_manifest(path.parent).get(path.name)
        if expected is None:
            return False
        actual = _digest(path)
    if actual not in expected:
        raise DamagedFile(
            f"{path} is damaged: expected SHA-256 {' or '.join(sorted(expected))}, "
            f"got {actual}"
        )
    return True


def remove(path: StrPath) -> None:
    """Removal of a file, if it exists, and of its manifest line."""
    path = Path(path)
    with _locked(path.parent):
        path.unlink(missing_ok=True)
        entries = _read_manifest(path.parent)
        if path.name in entries:
            _write_manifest(path.parent, entries)


def clean_temporaries(folder: StrPath) -> None:
    """Removal of the temporary files that killed processes left in `folder`."""
    for path in Path(folder).glob(".tmp-*"):
        match = _TEMPORARY.fullmatch(path.name)
        if match and not _is_running(int(match[1])) and path.is_file():
            path.unlink(missing_ok=True)


def _publish(temporary, path):
    folder, name = path.parent, path.name
    new = _digest(temporary)
    with _locked(folder):
        entries = _read_manifest(folder)
        old = entries.get(name) or ({_digest(path)} if path.exists() else set())
        _write_manifest(folder, entries | {name: old | {new}}, keep=name)
        _replace(temporary, path)
        _write_manifest(folder, entries | {name: {new}})


def _read_manifest(folder):
    """Dict of name -> set of accepted digests."""
    path = folder / MANIFEST
    if not path.exists():
        return {}
    entries = {}
    with path.open(encoding="utf-8", errors="replace", newline="\n") as file:
        for number, line in enumerate(file, start=1):
            match = _LINE.fullmatch(line)
            if not match:
                raise DamagedFile(
                    f"{path} is damaged: line {number} is not a SHA-256 and a file name"
                )
            entries.setdefault(match[2], set()).add(match[1])
    return entries


def _write_manifest(folder, entries, keep=None):
    """Writes the entries of the files that exist, and of `keep`, which is to come."""
    lines = [
        f"{digest}  {name}\n"
        for name in sorted(entries)
        if name == keep or (folder / name).exists()
        for digest in sorted(entries[name])
    ]
    path = folder / MANIFEST
    temporary = _temporary(path)
    try:
        temporary.write_text("".join(lines), encoding="utf-8")
        _sync(temporary)
        _replace(temporary, path)
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)


def _temporary(path):
    return path.with_name(f".tmp-{os.getpid()}-{path.name}")


def _replace(temporary, path):
    os.replace(temporary, path)
    # A rename outlives a power cut only when the folder itself is on the disk.
    _sync(path.parent)


def _sync(path):
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


def _is_running(process_id):
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # It runs, under another user.
    return True
