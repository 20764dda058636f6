"""Injects faults into an installed `mvae_tf`, again and again, and prints a table.

Each fault has a right outcome: a run that was killed and resumed ends with the same
bits as an undisturbed one; damage is found, or costs nothing; a mistake or a full disk
is one line on stderr, with exit status 2 and no traceback, and what was there before
stays.

    python scripts/fault_check.py [--python PYTHON] [--tries N] [--only WORD ...]

The package of this folder is installed into a new virtual environment first, unless
`--python` names an interpreter that finds a `mvae_tf` to check.

Kills come in chains, so that each costs one process: what was killed goes on and is
killed again, until it ends or has been killed five times; then what it leaves is
compared. Every second kill comes by the clock, the others inside a write.

`--memory` measures long work instead, and fails where it adds more than 100 MB. Linux;
the kills of two workers use the loopback interface. Every process that is started here
is ended here.
"""

import argparse
import contextlib
import dataclasses
import functools
import io
import itertools
import json
import math
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import venv
import zipfile
import zlib
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Processes are forked from one that has imported TensorFlow and not used it.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mvae_tf", "mvae_tf.cli", "sklearn.datasets"])

MODEL = ["--model", "vae", "--set", "latent_dim=2"]
MODEL += ["--set", "network.hidden=8", "--set", "checkpoint_every=3"]
SIZE = ["--limit", "100", "--batch-size", "33", "--epochs", "3"]
SETTINGS = {
    "plain": [],
    "two devices": ["--devices", "2"],
    "two workers": [],
    "bfloat16": ["--set", "dtype=mixed_bfloat16"],
    "XLA": ["--set", "jit_compile=true"],
    "2 steps an execution": ["--set", "steps_per_execution=2"],
}
KILLS_OF_A_CHAIN = 5
_NOBODY = 65534


# === What a child does to itself ===


@dataclasses.dataclass(frozen=True)
class Death:
    """A kill at the rename of a file, of which each write of the library has three.

    Attributes:
        rename: which one, counted from 1.
        moment: "before" or "after" it, or "inside" the writing of the first checkpoint
            from there on.
    """

    rename: int
    moment: str

    @classmethod
    def at_random(cls):
        """One that a training comes to, unless it is nearly done."""
        return cls(
            random.randrange(1, 25), random.choice(("before", "after", "inside"))
        )

    def prepare(self):
        """Make this process die."""
        rename, savez, renames = os.replace, np.savez, 0

        def deadly_rename(*paths):
            nonlocal renames
            renames += 1
            if renames == self.rename and self.moment == "before":
                _die()
            rename(*paths)
            if renames == self.rename and self.moment == "after":
                _die()

        def deadly_savez(path, **arrays):
            savez(path, **arrays)
            if renames >= self.rename and self.moment == "inside":
                os.truncate(path, random.randrange(path.stat().st_size))
                _die()

        os.replace, np.savez = deadly_rename, deadly_savez


def _die():
    os.kill(os.getpid(), signal.SIGKILL)


@dataclasses.dataclass(frozen=True)
class FullDisk:
    """A disk that is full from a file on.

    Attributes:
        file: which file that the library writes, counted from 1.
        room: bytes that a file can still have.
    """

    file: int
    room: int

    def prepare(self):
        """Make writes of this process fail, which else would kill it."""
        from mvae_tf import storage

        write, files = storage.write, 0

        def write_until_full(path):
            nonlocal files
            files += 1
            if files == self.file:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
                resource.setrlimit(resource.RLIMIT_FSIZE, (self.room, self.room))
            return write(path)

        storage.write = write_until_full


class Nobody:
    """A user for whom folders without rights are closed, as they never are to root."""

    def prepare(self):
        """Make this process run as that user."""
        if not os.getuid():
            os.setuid(_NOBODY)


class TrainingOnly:
    """Leaves out the evaluation and the report of a run, which take long."""

    def prepare(self):
        """Replace them in this process."""
        from mvae_tf.runs import training

        training.evaluate = lambda *arguments, **options: {}
        training._write_report = lambda run: (run / "report.html").write_text("-")


TRAINING_ONLY = TrainingOnly()


# === Processes ===


def _command(arguments, errors, environment, changes):
    """Run the command line in a child, with stderr in a file."""
    os.environ |= environment
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    # Through a process for which no disk is full.
    with errors.open("ab") as file:
        writer = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=file)
    os.dup2(writer.stdin.fileno(), sys.stderr.fileno())
    writer.stdin.close()
    random.seed()
    for change in changes:
        change.prepare()
    from mvae_tf.cli import main

    try:
        sys.exit(main(list(map(str, arguments))))
    finally:
        sys.stderr.flush()
        os.dup2(nowhere, sys.stderr.fileno())
        writer.wait()


@dataclasses.dataclass
class Command:
    """A process that runs the command line."""

    process: multiprocessing.Process
    errors: Path

    def wait(self, seconds=300):
        """Exit status, negative for a signal; what takes longer is ended."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
            raise AssertionError(f"did not end within {seconds} s")
        return self.process.exitcode

    @property
    def lines(self):
        """Return the lines of stderr that the command itself wrote."""
        text = self.errors.read_text(errors="replace") if self.errors.exists() else ""
        if "Traceback" in text:
            raise AssertionError(text.strip().splitlines()[-1])
        return [line for line in text.splitlines() if line.startswith("mvae-tf:")]


def start(folder, *arguments, environment=(), changes=()):
    """Start a `Command`, whose stderr goes into `folder`."""
    errors = folder / f"errors-{time.monotonic_ns()}"
    process = CONTEXT.Process(
        target=_command, args=(arguments, errors, dict(environment), changes)
    )
    process.start()
    return Command(process, errors)


def refused(folder, *arguments, **options):
    """Return the one line of a command that must end with status 2."""
    command = start(folder, *arguments, **options)
    status = command.wait()
    lines = [line for line in command.lines if "error" in line]
    assert (status, len(lines)) == (2, 1), f"status {status}, {lines}"
    return lines[0]


def succeeds(folder, *arguments, **options):
    """Run a command that must end with status 0."""
    end([start(folder, *arguments, **options)])


def end(commands):
    """Wait for processes that must succeed."""
    for command in commands:
        status = command.wait()
        assert status == 0, f"status {status}: {command.lines}"


def training(setting, run, *changes):
    """Start the processes of a run of one setting; two for two workers.

    The run is resumed where it exists. `changes` are for the first process.
    """
    arguments = ["train", *MODEL, *SIZE, *SETTINGS[setting], "--output", run]
    if (run / "config.json").exists():
        arguments.append("--resume")
    if setting != "two workers":
        return [start(run.parent, *arguments, changes=(TRAINING_ONLY, *changes))]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    commands = []
    for index in range(2):
        task = {"type": "worker", "index": index}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        command = start(
            run.parent,
            *arguments,
            environment={"TF_CONFIG": config},
            changes=(TRAINING_ONLY, *([] if index else changes)),
        )
        commands.append(command)
    return commands


def kill_once(begin, seconds, number):
    """Start processes and kill one, by the clock or, every second time, in a write.

    Args:
        begin: function of changes for the first process, which starts all.
        seconds: how long they take undisturbed.
        number: which kill it is.

    Returns:
        Whether one of them was killed; else they have ended before, in success.
    """
    if number % 2:
        commands = begin(Death.at_random())
    else:
        commands = begin()
        commands[0].process.join(random.uniform(0.1, 1.0) * seconds)
        if commands[0].process.is_alive():
            random.choice(commands).process.kill()
    statuses = [command.wait(90) for command in commands]
    if -signal.SIGKILL not in statuses:
        end(commands)
        return False
    for status, command in zip(statuses, commands, strict=True):
        # The other worker says why it ends, unless it had not begun or was done.
        assert status in (0, 2, -signal.SIGKILL), f"status {status}: {command.lines}"
        assert status != 2 or "another worker" in command.lines[-1], command.lines
    return True


def kill_in_chains(begin, tries, check):
    """Kill again and again what `begin` starts; yield for each kill, once checked.

    Args:
        begin: see `kill_once`; it is to continue what it finds.
        tries: number of kills.
        check: function that is called after the end of each chain.
    """
    begun = time.monotonic()
    end(begin())
    seconds = time.monotonic() - begun
    check()
    kills = chain = attempts = 0
    while kills < tries:
        attempts += 1
        killed = kill_once(begin, seconds, attempts)
        kills, chain = kills + killed, chain + killed
        if not killed or chain == KILLS_OF_A_CHAIN or kills == tries:
            end(begin())
            check()
            yield from range(chain)
            chain = 0


def state(run):
    """Return weights, optimiser and history at the end of a run, as bytes."""
    newest = sorted((run / "checkpoints").glob("step-*.npz"))[-1]
    with np.load(newest) as file:
        arrays = {key: file[key].tobytes() for key in file}
    return arrays | {"history": (run / "history.csv").read_bytes()}


def undisturbed(folder):
    """State of an undisturbed plain run."""
    end(training("plain", folder / "undisturbed"))
    return state(folder / "undisturbed")


# === The faults ===

FAULTS = []


def fault(name, quick=True):
    """Make a decorator that adds a check, which yields after each good try."""

    def decorate(check):
        FAULTS.append((name, quick, check))
        return check

    return decorate


def kills(setting):
    """Kill a training, which must end with the bits of an undisturbed one."""

    def check(folder, tries):
        run, expected = folder / "run", []

        def compare():
            expected.append(state(run))
            assert expected[-1] == expected[0], "another end than the undisturbed run"
            left = list(run.rglob(".tmp-*"))
            assert not left, f"a temporary file is left: {left[0]}"
            shutil.rmtree(run)

        begin = functools.partial(training, setting, run)
        yield from kill_in_chains(begin, tries, compare)

    return check


for _setting in SETTINGS:
    fault(f"kill, {_setting}", quick=_setting == "plain")(kills(_setting))


@contextlib.contextmanager
def finished(folder):
    """Return a copy of a small finished run, which is made once."""
    run = folder.parent / "finished" / "run"
    if not run.exists():
        run.parent.mkdir(exist_ok=True)
        succeeds(run.parent, "train", *MODEL, *SIZE, "--output", run)
    copy = shutil.copytree(run, folder / f"run-{time.monotonic_ns()}")
    yield copy
    shutil.rmtree(copy)


def kills_of(*arguments):
    """Kill a command on a finished run; the same command must then succeed."""

    def check(folder, tries):
        with finished(folder) as run:
            filled = [str(argument).format(run=run) for argument in arguments]

            def begin(*changes):
                return [start(folder, *filled, changes=changes)]

            def compare():
                left = list(run.rglob(".tmp-*"))
                assert not left, f"a temporary file is left: {left[0]}"

            yield from kill_in_chains(begin, tries, compare)

    return check


fault("kill, evaluate", quick=False)(
    kills_of("evaluate", "{run}", "--metrics", "elbo", "likelihood", "audit")
)
fault("kill, export", quick=False)(kills_of("export", "{run}", "--to", "{run}/served"))
fault("kill, report", quick=False)(kills_of("report", "{run}"))


@fault("kill, reproduce", quick=False)
def kills_of_reproduce(folder, tries):
    """Kill a figure with its training; the same command makes the same figure."""
    output, expected = folder / "results", []
    smoke = output / "smoke"
    arguments = ["reproduce", "cp-vae-figure-4", "--scale", "smoke", "--output", output]

    def compare():
        expected.append(state(smoke / "runs" / "cp-vae-k2-toy"))
        assert expected[-1] == expected[0], "another end than the undisturbed run"
        assert (smoke / "cp-vae-figure-4.png").is_file()
        shutil.rmtree(output)

    def begin(*changes):
        return [start(folder, *arguments, changes=changes)]

    yield from kill_in_chains(begin, tries, compare)


@fault("signal, train")
def signals(folder, tries):
    """SIGINT, SIGTERM and SIGHUP: one line, 128 + signal, and a run that goes on."""
    expected = undisturbed(folder)
    for number in range(tries):
        which = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)[number % 3]
        run = folder / f"run-{number}"
        (command,) = training("plain", run)
        while not list(run.glob("checkpoints/step-*.npz")):
            assert command.process.is_alive(), "ended before the signal"
            time.sleep(0.01)
        os.kill(command.process.pid, which)
        status = command.wait()
        if status != 0:  # It may have been done just before.
            assert status == 128 + which, f"status {status}"
            name = "Ctrl-C" if which == signal.SIGINT else which.name
            assert f"stopped by {name}; continue" in command.lines[-1]
        end(training("plain", run))
        assert state(run) == expected
        yield


@fault("two processes, one folder")
def two_processes(folder, tries):
    """Check that the second is refused, and that the first ends as it would alone."""
    expected = undisturbed(folder)
    seconds = itertools.cycle(("train", "resume", "evaluate", "report", "audit"))
    tried = 0
    while tried < tries:
        run = folder / f"run-{tried}"
        (first,) = training("plain", run)
        while not (run / "config.json").exists():
            assert first.process.is_alive()
            time.sleep(0.01)
        # As many as find the first one at work.
        while first.process.is_alive() and tried < tries:
            arguments = [next(seconds), run]
            if arguments[0] in ("train", "resume"):
                resume = ["--resume"] if arguments[0] == "resume" else []
                arguments = ["train", *MODEL, *SIZE, *resume, "--output", run]
            second = start(folder, *arguments)
            status, lines = second.wait(), second.lines
            if first.process.is_alive():
                assert status == 2, f"{arguments[0]}: status {status}"
                assert "in use by process" in lines[-1], lines
                tried += 1
                yield
        end([first])
        assert state(run) == expected


@fault("flipped bit, any file of a run")
def flipped_bits(folder, tries):
    """Check that a flip is found, or costs nothing."""
    import mvae_tf
    from mvae_tf.runs import training as runs

    with finished(folder) as run:
        model = mvae_tf.load(run)
        expected = model.generate(2, seed=0).numpy().tobytes()
        config, history = runs.read_config(run), runs.read_history(run)
        files = sorted(path for path in run.rglob("*") if path.is_file())
        for path in files:
            if path.suffix in (".png", ".html") or "tfevents" in path.name:
                continue  # Pictures and logs, which nothing reads back.
            if path.parent.name == "logs" or path.name == ".lock":
                continue
            content = path.read_bytes()
            for _ in range(tries):
                damaged = bytearray(content)
                damaged[random.randrange(len(content))] ^= 1 << random.randrange(8)
                path.write_bytes(damaged)
                with contextlib.redirect_stderr(io.StringIO()):
                    try:
                        assert runs.read_config(run) == config
                        assert runs.read_history(run) == history
                        loaded = mvae_tf.load(run).generate(2, seed=0).numpy()
                        assert loaded.tobytes() == expected, f"{path.name}: silent"
                        _restores(run, model)
                    except (ValueError, FileNotFoundError) as error:
                        found = str(error)
                    else:
                        found = ""
                assert "\n" not in found, found
                yield
            path.write_bytes(content)


def _restores(run, model):
    """Restore the newest checkpoint that is intact, into a compiled model."""
    import mvae_tf
    from mvae_tf.runs.checkpoints import Checkpoints

    if model.optimizer is None or not model.optimizer.built:
        model.compile(mvae_tf.optimizers.FusedAdam())
        model.optimizer.build(model.trainable_variables)
    assert Checkpoints(run / "checkpoints", model).restore()[0] > 0


@fault("disk full at every write of a run")
def disk_full(folder, tries):
    """One line; what is written verifies; with room again the run ends the same."""
    expected = undisturbed(folder)
    file = tried = 0
    while tried < tries:
        file += 1
        run = folder / f"run-{tried}"
        disk = FullDisk(file, random.choice((0, random.randrange(3000))))
        (command,) = training("plain", run, disk)
        status = command.wait()
        errors = [line for line in command.lines if "error" in line]
        assert (status, len(errors)) in ((0, 0), (2, 1)), f"status {status}, {errors}"
        if status == 0:
            file = 0  # There was no such file: from the first one again.
            shutil.rmtree(run)
            continue
        end(training("plain", run))
        assert state(run) == expected, f"file {file}: another end"
        tried += 1
        yield


@fault("outputs that are no plain folder")
def outputs(folder, tries):
    """Odd names, a link, a file in the place of the folder, a folder without rights."""
    odd = ["Läufe – ünï🙂", "a b'c\"d", "-x", "%d{}$HOME", "ファイル", "x" * 200, "~"]
    train = ["train", *MODEL, *SIZE, "--output"]
    for number in range(math.ceil(tries / 4)):
        (folder / f"{number}").mkdir()
        end(training("plain", folder / f"{number}" / odd[number % len(odd)]))
        yield
        real, link = folder / f"real-{number}", folder / f"link-{number}"
        real.mkdir()
        link.symlink_to(real)
        end(training("plain", link))
        assert (real / "model.keras").is_file()
        yield
        file = folder / f"file-{number}"
        file.write_text("mine")
        refused(folder, *train, file)
        refused(folder, *train, file / "run")
        assert file.read_text() == "mine"
        yield
        closed = folder / f"closed-{number}"
        closed.mkdir(mode=0o555)
        refused(folder, *train, closed / "run", changes=(Nobody(),))
        assert not list(closed.iterdir())
        yield


@fault("hostile archives")
def hostile_archives(folder, tries):
    """Read archives that are bombs, pickles, other models, or damaged at random."""
    with finished(folder) as run:
        good = (run / "model.keras").read_bytes()
        for number in range(tries):
            path = folder / f"hostile-{number}.keras"
            kind = number % 4
            if kind == 0:
                with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
                    archive.writestr("config.json", bytes(10**8))
            elif kind == 1:
                with zipfile.ZipFile(path, "w") as archive:
                    archive.writestr("config.json", '{"registered_name": ["x"]}')
            elif kind == 2:
                path.write_bytes(good[: random.randrange(len(good))])
            else:
                damaged = bytearray(good)
                for _ in range(20):
                    damaged[random.randrange(len(good))] = random.randrange(256)
                path.write_bytes(damaged)
            refused(folder, "generate", path, "--num", 1, "--to", folder / "x.png")
            assert not (folder / "x.png").exists()
            pickled = folder / f"pickled-{number}.npz"
            np.savez(pickled, x=np.array([{"a": 1}], dtype=object))
            data = ["--data", f"npz:{pickled}"]
            refused(folder, "train", *MODEL, *data, "--output", folder / "never")
            yield


@fault("hostile images")
def hostile_images(folder, tries):
    """Read damaged, empty and huge files and no images: an error names them."""
    from PIL import Image

    rng = np.random.default_rng(0)
    images = folder / "images"
    for number in range(40):
        path = images / f"class-{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (8, 8), np.uint8)).save(path)
    good = path.read_bytes()
    for number in range(tries):
        content = bytearray(good)
        kind = ("cut", "flipped", "empty", "text", "huge", "loop")[number % 6]
        if kind == "cut":
            content = content[: random.randrange(1, len(good))]
        elif kind == "flipped":
            for _ in range(3):
                content[random.randrange(len(good))] ^= 1 << random.randrange(8)
        elif kind == "huge":
            # Width and height in the header, with a checksum that fits them.
            content[16:24] = (60_000).to_bytes(4, "big") * 2
            content[29:33] = zlib.crc32(content[12:29]).to_bytes(4, "big")
        path.unlink()
        if kind == "loop":
            path.symlink_to(path)
        else:
            texts = {"empty": b"", "text": b"no image"}
            path.write_bytes(texts.get(kind, bytes(content)))
        run = folder / f"run-{number}"
        arguments = ["train", *MODEL, "--epochs", 1, "--data", f"folder:{images}"]
        command = start(folder, *arguments, "--output", run, changes=(TRAINING_ONLY,))
        status, errors = command.wait(), [x for x in command.lines if "error" in x]
        assert (status, len(errors)) in ((0, 0), (2, 1)), f"{kind}: {status}, {errors}"
        assert status == 0 or path.name in errors[0], f"{kind}: {errors[0]}"
        yield


@fault("hostile settings")
def hostile_settings(folder, tries):
    """Try values of other types in `config.json`, and settings that make no sense."""
    with finished(folder) as run:
        record = folder / "record.json"
        process = CONTEXT.Process(
            target=_resume_with_changes, args=(run, 4 * tries, record)
        )
        process.start()
        Command(process, folder / "errors").wait(1800)
        for change, status, text in json.loads(record.read_text()):
            said = f"{change}: status {status}, {text}"
            assert status in (0, 2), said
            assert "Traceback" not in text, said
            assert status == 0 or text.count("mvae-tf: error: ") == 1, said
            yield
    for setting in ("batch_size=" + "9" * 30, "learning_rate=NaN", "seed=x"):
        arguments = [*MODEL, "--set", setting, "--output", folder / "never"]
        refused(folder, "train", *arguments)
        yield


def _resume_with_changes(run, number, record):
    """Resume the run with one value changed, `number` times, all in this process."""
    from mvae_tf.cli import main

    values = [None, 1, -1, 1e400, "x", [], {}, [[]], True, "\ud800", 10**30, 10**8, 0.5]
    path = run / "config.json"
    good, found = path.read_text(), []
    # The checksum is of no help against who writes both.
    (run / "checksums.sha256").unlink()
    for _ in range(number):
        changed = json.loads(good)
        groups = [changed, changed["data"], changed["training"], changed["arguments"]]
        group = random.choice(groups)
        key, value = random.choice(list(group)), random.choice(values)
        group[key] = value
        path.write_text(json.dumps(changed))
        with (
            contextlib.redirect_stderr(io.StringIO()) as errors,
            contextlib.redirect_stdout(io.StringIO()),
        ):
            status = main(["train", "--resume", "--output", str(run)])
        found.append((f"{key} = {value!r}", status, errors.getvalue()))
    record.write_text(json.dumps(found))


@fault("diverged run")
def diverged(folder, tries):
    """Check that it says so, and that later commands on its folder do, too."""
    rates = itertools.cycle(("1e10", "1e30", "1e4"))
    for number, rate in zip(range(math.ceil(tries / 4)), rates, strict=False):
        run = folder / f"run-{number}"
        arguments = [*MODEL, *SIZE, "--set", f"learning_rate={rate}", "--output", run]
        refused(folder, "train", *arguments)
        for command in (["report"], ["evaluate"], ["audit"], ["show"]):
            checked = start(folder, *command, run)
            status = checked.wait()
            assert status in (0, 2), f"{command}: status {status}"
            said = " ".join(checked.lines)
            assert "diverged" in said, f"{command} of a rate of {rate}: {said}"
            yield


# === Memory ===

# What the answers of these calls take is a quarter of it at most.
MOST_MEGABYTES = 100


def _peak(function, pipe):
    """Send the megabytes that a call adds, beyond those of a small one before."""
    import mvae_tf

    model = mvae_tf.create(
        "mvae", input_shape=(8, 8, 1), latent_dim=8, network={"name": "mlp"}
    )
    model.compile(mvae_tf.optimizers.FusedAdam())
    function(model, small=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    function(model, small=False)
    pipe.send((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024)


def _fit(model, small):
    x = np.random.default_rng(0).uniform(size=(1000, 8, 8, 1)).astype("float32")
    model.fit(x, batch_size=10, epochs=1 if small else 30, verbose=0)


def _encode(model, small):
    x = np.zeros((1000 if small else 60_000, 8, 8, 1), "float32")
    model.encode(x)


def _log_likelihood(model, small):
    x = np.zeros((2 if small else 100, 8, 8, 1), "float32")
    model.log_likelihood(x, 10 if small else 5_000)


def _generate(model, small):
    model.generate(100 if small else 10_000, seed=0)


def print_memory():
    """Print the megabytes that long work adds to the same work on little.

    Returns:
        Whether each is less than `MOST_MEGABYTES`.
    """
    bounded = True
    for name, function in {
        "fit, 3,000 steps": _fit,
        "encode, 60,000 images": _encode,
        "log_likelihood, 5,000 draws of 100 images": _log_likelihood,
        "generate, 10,000 images": _generate,
    }.items():
        receive, send = CONTEXT.Pipe(duplex=False)
        process = CONTEXT.Process(target=_peak, args=(function, send))
        process.start()
        megabytes = receive.recv()
        bounded = bounded and megabytes < MOST_MEGABYTES
        print(f"{name:45} {megabytes:7.0f} MB", flush=True)
        process.join()
    return bounded


def install(folder):
    """Install the package of this repository; return the interpreter that has it."""
    print("Installing the package into a new environment (some minutes)", flush=True)
    venv.create(folder / "venv", with_pip=True)
    python = folder / "venv" / "bin" / "python"
    # A copy of what an installation needs, because the build would leave its own files.
    root, source = Path(__file__).parent.parent, folder / "source"
    shutil.copytree(root / "mvae_tf", source / "mvae_tf")
    for name in ("setup.py", "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(root / name, source)
    command = [python, "-m", "pip", "install", "--quiet", source]
    subprocess.run(command, check=True)
    return python


def check_with(python):
    """Run this script, with its arguments, by the interpreter; return its status."""
    without = {key: v for key, v in os.environ.items() if key != "PYTHONPATH"}
    command = [python, __file__, *sys.argv[1:], "--python", python]
    return subprocess.run(command, env=without, check=False).returncode


def run_check(check, tries):
    """Return how many tries went well, and what was wrong with the next one, or ""."""
    done = 0
    with tempfile.TemporaryDirectory() as temporary:
        # Open to the process that runs as nobody.
        Path(temporary).chmod(0o755)
        folder = Path(temporary, "fault")
        folder.mkdir()
        try:
            for _ in check(folder, tries):
                done += 1
        except Exception as error:
            line = traceback.extract_tb(error.__traceback__)[-1].lineno
            text = " ".join(str(error).split()) or type(error).__name__
            return done, f"FAILS (line {line}): {text[:300]}"
    return done, ""


def main():
    """Print one line for each fault; the exit status is 1 if any did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", help="interpreter that finds the mvae_tf to check")
    parser.add_argument("--tries", type=int, default=25, help="of each (default 25)")
    parser.add_argument(
        "--quick", action="store_true", help="leave out what takes long"
    )
    parser.add_argument(
        "--only", nargs="+", metavar="WORD", help="faults of these words"
    )
    parser.add_argument("--memory", action="store_true", help="measure memory instead")
    parser.add_argument("--seed", type=int, default=None, help="of the random moments")
    options = parser.parse_args()
    if options.python is None:
        with tempfile.TemporaryDirectory() as folder:
            sys.exit(check_with(install(Path(folder))))
    if Path(options.python).absolute() != Path(sys.executable):
        command = [options.python, __file__, *sys.argv[1:]]
        sys.exit(subprocess.run(command, check=False).returncode)
    random.seed(options.seed)
    if options.memory:
        sys.exit(int(not print_memory()))
    import mvae_tf

    print(f"mvae_tf {mvae_tf.__version__} in {Path(mvae_tf.__file__).parent}")
    failed = False
    print(f"{'fault':38} tries  seconds  result")
    for name, quick, check in FAULTS:
        wanted = not options.only or any(word in name for word in options.only)
        if not wanted or (options.quick and not quick):
            continue
        begun = time.monotonic()
        done, wrong = run_check(check, options.tries)
        failed = failed or bool(wrong)
        seconds = time.monotonic() - begun
        print(f"{name:38} {done:5} {seconds:8.0f}  {wrong or 'holds'}", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
