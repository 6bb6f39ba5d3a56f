"""Fuzzes for a bounded time: `python -m tests.fuzz [--seconds 60] [--only TARGET …] [--out FOLDER]`.

Each target runs in a process of its own under Atheris (the extra `fuzz`), which keeps the inputs that reach new code; the
seconds are shared out evenly. An input that breaks a promise is written to a file, and the exit status is 1.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[2]
TARGET_NAMES = ("decoder", "messages", "chat_completions", "responses", "generate_content")
# Beyond the time given: starting up, reading the seeds, and writing what was found.
GRACE_SECONDS = 60
# An input that takes longer is a failure too.
INPUT_SECONDS = 10
MAX_INPUT_BYTES = 16384
SUMMARY = re.compile(rb"Done (\d+) runs|stat::number_of_executed_units: (\d+)")


def main(arguments: list[str]) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="for all targets together, by two at a time")
    parser.add_argument("--only", nargs="+", choices=TARGET_NAMES, default=TARGET_NAMES)
    parser.add_argument("--out", type=Path, default=Path(tempfile.gettempdir()), help="where inputs that fail are written")
    parser.add_argument("--run", choices=TARGET_NAMES, help=argparse.SUPPRESS)
    parser.add_argument("rest", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.run:
        fuzz(options.run, options.rest)
        return 0
    options.out.mkdir(parents=True, exist_ok=True)
    at_once = min(2, len(options.only), os.cpu_count() or 1)
    seconds = max(1, round(options.seconds * at_once / len(options.only)))
    with ThreadPoolExecutor(at_once) as pool:
        passed = list(pool.map(lambda name: report(name, seconds, options.out), options.only))
    return 0 if all(passed) else 1


def report(name: str, seconds: int, out: Path) -> bool:
    """Fuzz one target in another process; print and return whether it held."""
    try:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
            command = [sys.executable, "-m", "tests.fuzz", "--run", name, "--", str(seconds), str(out.resolve()), folder]
            # Decoded here: what fails may be printed as any bytes.
            done = subprocess.run(command, cwd=ROOT, capture_output=True, timeout=seconds + GRACE_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        sys.stdout.write(f"{name}: did not end in time\n")
        return False
    runs = [int(found) for pair in SUMMARY.findall(done.stderr) for found in pair if found]
    if done.returncode == 0 and runs:
        sys.stdout.write(f"{name}: {max(runs):,} inputs in {seconds} s, none fails\n")
        return True
    # Atheris writes the traceback to standard output, libFuzzer what it did to the other.
    said = "\n".join(stream.decode("utf-8", "replace")[-3000:] for stream in (done.stderr, done.stdout))
    # The file may not outlive the machine that found it.
    inputs = "\n".join(f"{path.name}: {b64encode(path.read_bytes()).decode()}" for path in out.glob(f"{name}-*"))
    sys.stdout.write(f"{name}: failed with status {done.returncode}\n{said}\n{inputs}\n")
    return False


def fuzz(name: str, rest: list[str]) -> None:
    """Fuzz one target in this process; never returns, for the fuzzer ends it."""
    try:
        import atheris
    except ImportError:
        sys.exit("fuzzing needs Atheris: pip install 'dgrid_async[fuzz]'")
    with atheris.instrument_imports(include=["dgrid_async"]):
        from tests.fuzz import targets
    seconds, out, folder = int(rest[0]), Path(rest[1]), Path(rest[2])
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(targets.seeds(name)):
        (corpus / str(number)).write_bytes(seed)
    dictionary = folder / "words"
    dictionary.write_text("".join(f'"{_quoted(word)}"\n' for word in targets.words(name)))
    options = {
        "max_total_time": seconds,
        "max_len": MAX_INPUT_BYTES,
        "timeout": INPUT_SECONDS,
        "rss_limit_mb": 1024,
        "dict": dictionary,
        "artifact_prefix": f"{out}/{name}-",
        "print_final_stats": 1,
        "verbosity": 1,
    }
    flags = [f"-{option}={value}" for option, value in options.items()]
    atheris.Setup([sys.argv[0], *flags, str(corpus)], targets.TARGETS[name])
    atheris.Fuzz()


def _quoted(word: bytes) -> str:
    return "".join(chr(byte) if byte < 128 and chr(byte).isalnum() else f"\\x{byte:02x}" for byte in word)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
