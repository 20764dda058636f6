"""Injects faults into an installed `mvae_tf`, again and again, and prints a table.

Each fault has a right outcome: a run that was killed and resumed ends with the same
bits as an undisturbed one; damage is found, or costs nothing; a mistake or a full disk
is one line on stderr, with exit status 2 and no traceback, and what was there before
stays.

    python scripts/fault_check.py [--tries N] [--quick] [--only WORD ...]

It checks the `mvae_tf` that its Python finds: an installed one, or with
`PYTHONPATH=$PWD` the one of this folder.

`--memory` measures long work instead, and fails where it adds more than 100 MB. Linux;
the kills of two workers use the loopback interface. Every process that is started here
is ended here.
"""

import argparse
import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import socket
import sys
import tempfile
import time
import traceback
import zipfile
import zlib
from pathlib import Path

import numpy as np

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

# Processes are forked from one that has imported TensorFlow and not used it.
CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(["mvae_tf", "mvae_tf.cli", "sklearn.datasets"])

_NOBODY = 65534

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


# === Processes ===


def _command(arguments, errors, environment, training_only, limit, nobody):
    """Runs the command line in a child, with stderr in a file."""
    os.environ |= environment
    for stream, path in ((sys.stdout, os.devnull), (sys.stderr, errors)):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(descriptor, stream.fileno())
    if limit is not None:
        # Writing past the limit fails as on a full disk, instead of killing.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    if nobody:
        # No folder is closed to root.
        os.setuid(_NOBODY)
    if training_only:
        _leave_out_what_follows_training()
    from mvae_tf.cli import main

    sys.exit(main(list(map(str, arguments))))


def _leave_out_what_follows_training():
    from mvae_tf.runs import training

    training.evaluate = lambda *arguments, **options: {}
    training._write_report = lambda output: (output / "report.html").write_text("-")


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
        """Lines of stderr that the command itself wrote."""
        text = self.errors.read_text(errors="replace") if self.errors.exists() else ""
        if "Traceback" in text:
            raise AssertionError(text.strip().splitlines()[-1])
        return [line for line in text.splitlines() if line.startswith("mvae-tf:")]


def start(
    folder, *arguments, environment=(), training_only=False, limit=None, nobody=False
):
    """A `Command`; its stderr goes into `folder`."""
    errors = folder / f"errors-{time.monotonic_ns()}"
    process = CONTEXT.Process(
        target=_command,
        args=(arguments, errors, dict(environment), training_only, limit, nobody),
    )
    process.start()
    return Command(process, errors)


def refused(folder, *arguments, **options):
    """The one line of a command that must end with status 2."""
    command = start(folder, *arguments, **options)
    status = command.wait()
    lines = [line for line in command.lines if "error" in line]
    assert (status, len(lines)) == (2, 1), f"status {status}, {lines}"
    return lines[0]


def succeeds(folder, *arguments, **options):
    """Runs a command that must end with status 0."""
    command = start(folder, *arguments, **options)
    status = command.wait()
    assert status == 0, f"status {status}: {command.lines}"


def training(setting, run, resume=False):
    """Starts the processes of a run of one setting; two for two workers."""
    arguments = ["train", *MODEL, *SIZE, *SETTINGS[setting], "--output", run]
    arguments += ["--resume"] if resume else []
    if setting != "two workers":
        return [start(run.parent, *arguments, training_only=True)]
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(2)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in sockets]
    cluster = {"worker": addresses}
    configs = [
        {"cluster": cluster, "task": {"type": "worker", "index": index}}
        for index in range(2)
    ]
    return [
        start(
            run.parent,
            *arguments,
            training_only=True,
            environment={"TF_CONFIG": json.dumps(config)},
        )
        for config in configs
    ]


def end(commands):
    """Waits for processes that must succeed."""
    for command in commands:
        status = command.wait()
        assert status == 0, f"status {status}: {command.lines}"


def state(run):
    """Weights, optimiser and history at the end of a run, as bytes."""
    newest = sorted((run / "checkpoints").glob("step-*.npz"))[-1]
    with np.load(newest) as file:
        arrays = {key: file[key].tobytes() for key in file}
    return arrays | {"history": (run / "history.csv").read_bytes()}


# === The faults ===

FAULTS = []


def fault(name, quick=True):
    """Decorator that adds a check; it yields after each try that went well."""

    def decorate(check):
        FAULTS.append((name, quick, check))
        return check

    return decorate


def kills(setting):
    """Kills at random moments, inside the writing of checkpoints too."""

    def check(folder, tries):
        begun = time.monotonic()
        end(training(setting, folder / "undisturbed"))
        seconds = time.monotonic() - begun
        expected = state(folder / "undisturbed")
        for number in range(tries):
            run = folder / f"killed-{number}"
            commands = training(setting, run)
            if number % 2:
                # As soon as a checkpoint, which is written under this name, is begun.
                deadline = time.monotonic() + 300
                while not list(run.glob("checkpoints/.tmp-*.npz")):
                    if not any(c.process.is_alive() for c in commands):
                        break
                    assert time.monotonic() < deadline, "no checkpoint is written"
            else:
                time.sleep(random.uniform(0.1, 1.0) * seconds)
            victim = random.choice(commands)
            victim.process.kill()
            for command in commands:
                with contextlib.suppress(AssertionError):
                    command.wait(60)
            resume = (run / "config.json").exists()
            end(training(setting, run, resume))
            assert state(run) == expected, "another end than that of the undisturbed"
            shutil.rmtree(run)
            yield

    return check


for _setting in SETTINGS:
    fault(f"kill, {_setting}", quick=_setting == "plain")(kills(_setting))


@contextlib.contextmanager
def finished(folder):
    """A small finished run, made once."""
    run = folder.parent / "finished" / "run"
    if not run.exists():
        run.parent.mkdir(exist_ok=True)
        succeeds(run.parent, "train", *MODEL, *SIZE, "--output", run)
    copy = shutil.copytree(run, folder / f"run-{time.monotonic_ns()}")
    yield copy
    shutil.rmtree(copy)


def kills_of(*arguments, output=None):
    """Kills a command at random moments; afterwards it must succeed."""

    def check(folder, tries):
        seconds = None
        for _ in range(tries):
            with finished(folder) as run:
                filled = [str(a).format(run=run, folder=folder) for a in arguments]
                if seconds is None:
                    begun = time.monotonic()
                    succeeds(folder, *filled)
                    seconds = time.monotonic() - begun
                command = start(folder, *filled)
                time.sleep(random.uniform(0.0, 1.0) * seconds)
                command.process.kill()
                command.wait()
                succeeds(folder, *filled)
                assert not list(run.rglob(".tmp-*")), "a temporary file is left"
                yield

    return check


fault("kill, evaluate", quick=False)(
    kills_of("evaluate", "{run}", "--metrics", "elbo", "likelihood", "audit")
)
fault("kill, export", quick=False)(kills_of("export", "{run}", "--to", "{run}/served"))
fault("kill, report", quick=False)(kills_of("report", "{run}"))


@fault("kill, reproduce", quick=False)
def kills_of_reproduce(folder, tries):
    """Kills a figure with its training; the same command then makes the same figure."""
    command = ["reproduce", "cp-vae-figure-4", "--scale", "smoke", "--output"]
    run = Path("smoke", "runs", "cp-vae-k2-toy")
    begun = time.monotonic()
    succeeds(folder, *command, folder / "undisturbed")
    seconds = time.monotonic() - begun
    expected = state(folder / "undisturbed" / run)
    for number in range(tries):
        output = folder / f"killed-{number}"
        killed = start(folder, *command, output)
        time.sleep(random.uniform(0.1, 1.0) * seconds)
        killed.process.kill()
        killed.wait()
        succeeds(folder, *command, output)
        assert state(output / run) == expected, "another end than the undisturbed"
        assert (output / "smoke" / "cp-vae-figure-4.png").is_file()
        shutil.rmtree(output)
        yield


@fault("signal, train")
def signals(folder, tries):
    """SIGINT, SIGTERM and SIGHUP: one line, 128 + signal, and a run that goes on."""
    end(training("plain", folder / "undisturbed"))
    expected = state(folder / "undisturbed")
    for number in range(tries):
        which = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)[number % 3]
        run = folder / f"run-{number}"
        (command,) = training("plain", run)
        while not list(run.glob("checkpoints/step-*.npz")):
            assert command.process.is_alive(), "ended before the signal"
            time.sleep(0.001)
        os.kill(command.process.pid, which)
        status = command.wait()
        if status != 0:  # It may have been done just before.
            assert status == 128 + which, f"status {status}"
            name = "Ctrl-C" if which == signal.SIGINT else which.name
            assert f"stopped by {name}; continue" in command.lines[-1]
        end(training("plain", run, resume=True))
        assert state(run) == expected
        yield


@fault("two processes, one folder")
def two_processes(folder, tries):
    """The second is refused, and the first ends as it would alone."""
    end(training("plain", folder / "undisturbed"))
    expected = state(folder / "undisturbed")
    for number in range(tries):
        run = folder / f"run-{number}"
        (first,) = training("plain", run)
        while not (run / ".lock").exists():
            assert first.process.is_alive()
            time.sleep(0.001)
        time.sleep(0.2)
        arguments = ["train", *MODEL, *SIZE, "--output", run]
        if (run / "config.json").exists() and random.random() < 0.5:
            arguments.append("--resume")
        line = refused(folder, *arguments)
        assert "in use by process" in line, line
        end([first])
        assert state(run) == expected
        yield


@fault("flipped bit, any file of a run")
def flipped_bits(folder, tries):
    """A flip is found, or it costs nothing."""
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
    """Restores the newest checkpoint that is intact, into a compiled model."""
    import mvae_tf
    from mvae_tf.runs.checkpoints import Checkpoints

    if model.optimizer is None or not model.optimizer.built:
        model.compile(mvae_tf.optimizers.FusedAdam())
        model.optimizer.build(model.trainable_variables)
    assert Checkpoints(run / "checkpoints", model).restore()[0] > 0


@fault("disk full, train")
def disk_full(folder, tries):
    """One line; what is written verifies; with room again the run ends the same."""
    end(training("plain", folder / "undisturbed"))
    expected = state(folder / "undisturbed")
    largest = max(path.stat().st_size for path in folder.rglob("*.npz"))
    for number in range(tries):
        run = folder / f"run-{number}"
        limit = random.randrange(int(1.2 * largest))
        arguments = ["train", *MODEL, *SIZE, "--output", run]
        command = start(folder, *arguments, training_only=True, limit=limit)
        status = command.wait()
        errors = [line for line in command.lines if "error" in line]
        assert status in (0, 2), f"status {status}"
        assert len(errors) == (status == 2), errors
        resume = (run / "config.json").exists()
        end(training("plain", run, resume))
        assert state(run) == expected
        yield


@fault("outputs that are no plain folder")
def outputs(folder, tries):
    """Unicode, a link, a file in the place of the folder, a folder without rights."""
    for number in range(tries):
        odd = folder / f"Läufe {number} – ünï🙂"
        succeeds(folder, "train", *MODEL, *SIZE, "--output", odd, training_only=True)
        real, link = folder / f"real-{number}", folder / f"link-{number}"
        real.mkdir()
        link.symlink_to(real)
        succeeds(folder, "train", *MODEL, *SIZE, "--output", link, training_only=True)
        assert (real / "model.keras").is_file()
        file = folder / f"file-{number}"
        file.write_text("mine")
        refused(folder, "train", *MODEL, *SIZE, "--output", file)
        refused(folder, "train", *MODEL, *SIZE, "--output", file / "run")
        assert file.read_text() == "mine"
        closed = folder / f"closed-{number}"
        closed.mkdir(mode=0o555)
        arguments = ["train", *MODEL, *SIZE, "--output", closed / "run"]
        refused(folder, *arguments, nobody=not os.getuid())
        assert not list(closed.iterdir())
        yield


@fault("hostile archives")
def hostile_archives(folder, tries):
    """Archives that are bombs, pickles, other models, or damaged at random."""
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
    """Files that are damaged, empty, huge or no images: named in one line, or read."""
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
        command = start(folder, *arguments, "--output", run, training_only=True)
        status, errors = command.wait(), [x for x in command.lines if "error" in x]
        assert (status, len(errors)) in ((0, 0), (2, 1)), f"{kind}: {status}, {errors}"
        assert status == 0 or path.name in errors[0], f"{kind}: {errors[0]}"
        yield


@fault("hostile settings")
def hostile_settings(folder, tries):
    """Values of other types in `config.json`, and settings that make no sense."""
    values = [None, 1, -1, 1e400, "x", [], {}, [[]], True, "\ud800", 10**30]
    with finished(folder) as run:
        path = run / "config.json"
        good = json.loads(path.read_text())
        for _ in range(tries):
            changed = json.loads(json.dumps(good))
            groups = [changed, changed["data"], changed["training"]]
            group = random.choice([*groups, changed["arguments"]])
            key, value = random.choice(list(group)), random.choice(values)
            group[key] = value
            path.write_text(json.dumps(changed))
            # The checksum is of no help against who writes both.
            (run / "checksums.sha256").unlink(missing_ok=True)
            command = start(folder, "train", "--resume", "--output", run)
            status = command.wait()
            assert status in (0, 2), f"status {status} for {key} = {value!r}"
            assert status == 0 or command.lines, f"no line for {key} = {value!r}"
            yield
        for setting in ("batch_size=" + "9" * 30, "learning_rate=NaN", "seed=x"):
            arguments = [*MODEL, "--set", setting, "--output", folder / "never"]
            refused(folder, "train", *arguments)
            yield


@fault("diverged run")
def diverged(folder, tries):
    """It says so, and later commands work on its folder and say so."""
    for number in range(max(1, tries // 5)):
        run = folder / f"run-{number}"
        arguments = [*MODEL, *SIZE, "--set", "learning_rate=1e10", "--output", run]
        line = refused(folder, "train", *arguments)
        assert "diverged" in line, line
        for command in ("report", "evaluate", "audit"):
            checked = start(folder, command, run)
            status = checked.wait()
            assert status in (0, 2), f"{command}: status {status}"
            assert "diverged" in " ".join(checked.lines), f"{command} does not say so"
        yield


# === Memory ===

# What the answers of these calls take is a quarter of it at most.
MOST_MEGABYTES = 100


def _peak(function, pipe):
    """Sends the megabytes that a call adds, beyond those of a small one before."""
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
    """Prints the megabytes that long work adds to the same work on little.

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


def main():
    """Prints one line for each fault; the exit status is 1 if any did harm."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
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
    random.seed(options.seed)
    if options.memory:
        sys.exit(int(not print_memory()))
    failed = False
    print(f"{'fault':34} tries  result")
    for name, quick, check in FAULTS:
        wanted = not options.only or any(word in name for word in options.only)
        if not wanted or (options.quick and not quick):
            continue
        tries, result = 0, "holds"
        with tempfile.TemporaryDirectory() as temporary:
            # Open to the process that runs as nobody.
            Path(temporary).chmod(0o755)
            folder = Path(temporary, "fault")
            folder.mkdir()
            try:
                for _ in check(folder, options.tries):
                    tries += 1
            except Exception as error:
                line = traceback.extract_tb(error.__traceback__)[-1].lineno
                text = " ".join(str(error).split()) or type(error).__name__
                result, failed = f"FAILS (line {line}): {text[:300]}", True
        print(f"{name:34} {tries:5}  {result}", flush=True)
    sys.exit(int(failed))


if __name__ == "__main__":
    main()
