"""The command line: its commands in this process against an emulator, and the whole program where a process matters."""

import asyncio
import contextlib
import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import pytest

import dgrid_async
from dgrid_async import errors
from dgrid_async.cli import main
from dgrid_async.cli.exits import Exit, exit_of
from dgrid_async.cli.interrupts import Interrupts
from dgrid_async.cli.samples import film, picture, sound
from dgrid_async.cli.terminal import Terminal
from dgrid_async.emulator import Close, Cut, Emulator, ErrorEvent, Html, Insert, Malformed, Script, Stall, Usage

KEY = "sk-never-to-be-shown-1234567890"
APIS = ("chat", "messages", "responses", "gemini")
HERE = Path(dgrid_async.__file__).parents[1]
FINAL = {"x-should-retry": "false"}
WAIT = 15
"""Seconds for what a process does in less than one on an idle machine."""


class Ended(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("DGRID_") or name.lower().endswith("_proxy"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DGRID_API_KEY", KEY)


@pytest.fixture
async def gateway(monkeypatch) -> AsyncIterator[Emulator]:
    async with Emulator(Script(text="Hello there.", usage=Usage(11, 7))) as emulator:
        monkeypatch.setenv("DGRID_BASE_URL", emulator.url)
        yield emulator


@pytest.fixture
def run(capsys):
    """Return what runs the program in a thread of this process."""

    async def ended(*arguments: str) -> Ended:
        code = await asyncio.to_thread(main, arguments)
        return Ended(code, *capsys.readouterr())

    return ended


def stdin(monkeypatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


# ----------------------------------------------------------------------------------------------------------------- chat


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("mode", [[], ["--no-stream"]], ids=["streamed", "plain"])
async def test_chat_prints_the_answer_and_what_it_took(gateway, run, api, mode) -> None:
    ended = await run("chat", "-m", "some/model", "--api", api, *mode, "Hi")
    assert ended.out == "Hello there.\n"
    finish = {"chat": "stop", "messages": "end_turn", "responses": "completed", "gemini": "STOP"}[api]
    assert ended.err == f"tokens: 11 in, 7 out; finish: {finish}\n"
    assert ended.code == 0
    [received] = gateway.log
    assert received.headers["Authorization"] == f"Bearer {KEY}"
    assert "Hi" in json.dumps(received.body)
    streamed = received.body.get("stream") or "streamGenerateContent" in received.path
    assert bool(streamed) is not bool(mode)
    assert "some/model" in (received.path if api == "gemini" else received.body["model"])


SETTINGS = {
    "chat": {
        "max_tokens": 5,
        "temperature": 0.5,
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}],
        "stream_options": {"include_usage": True},
    },
    "messages": {
        "max_tokens": 5,
        "temperature": 0.5,
        "system": "Be brief.",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}],
    },
    "responses": {"max_output_tokens": 5, "temperature": 0.5, "instructions": "Be brief.", "input": "Hi"},
    "gemini": {
        "generationConfig": {"maxOutputTokens": 5, "temperature": 0.5},
        "contents": [{"role": "user", "parts": [{"text": "Hi"}]}],
    },
}


@pytest.mark.parametrize("api", APIS)
async def test_chat_settings_reach_the_request(gateway, run, api) -> None:
    settings = ["--system", "Be brief.", "--max-tokens", "5", "--temperature", "0.5"]
    assert (await run("chat", "-m", "m", "--api", api, *settings, "Hi")).code == 0
    body = dict(gateway.log[0].body)
    if api == "gemini":
        assert body.pop("systemInstruction")["parts"] == [{"text": "Be brief."}]
    else:
        assert body.pop("model") == "m"
        assert body.pop("stream") is True
    assert body == SETTINGS[api]


async def test_chat_sends_no_setting_that_was_not_given(gateway, run) -> None:
    assert (await run("chat", "-m", "m", "--no-stream", "Hi")).code == 0
    assert gateway.log[0].body == {"model": "m", "messages": [{"role": "user", "content": "Hi"}]}


@pytest.mark.parametrize(
    ("api", "kinds"),
    [
        ("chat", ["image", "audio"]),
        ("messages", ["image"]),
        ("responses", ["image", "audio"]),
        ("gemini", ["image", "audio", "video"]),
    ],
)
async def test_chat_sends_media_as_the_format_has_it(gateway, run, tmp_path, api, kinds) -> None:
    gateway.script = Script(usage=Usage(1, 1))
    files = {"image": picture(), "audio": sound(), "video": film()}
    types = {"image": "image/png", "audio": "audio/wav", "video": "video/avi"}
    options = []
    for kind in kinds:
        path = tmp_path / kind
        path.write_bytes(files[kind])
        options += [f"--{kind}", str(path)]
    ended = await run("chat", "-m", "m", "--api", api, *options, "--image", str(tmp_path / "image"), "What is it?")
    assert ended.code == 0, ended.err
    # The emulator names what it decoded, in the order of the request.
    sent = [kinds[0], *kinds]
    assert "You said: “What is it?”." in ended.out
    seen = [(types[kind], len(files[kind])) for kind in sent]
    named = ended.out.partition("You sent: ")[2]
    assert [named.index(f"{size} bytes") for _, size in seen] == sorted(named.index(f"{size} bytes") for _, size in seen)
    assert named.count("image/png, 136 bytes") == 2
    for kind, (type_, size) in zip(sent, seen, strict=True):
        assert f"{'audio/wav' if kind == 'audio' else type_}, {size} bytes" in named


@pytest.mark.parametrize(
    ("api", "kind", "instead"),
    [
        ("messages", "audio", "chat or responses or gemini"),
        ("messages", "video", "gemini"),
        ("chat", "video", "gemini"),
        ("responses", "video", "gemini"),
    ],
)
async def test_chat_says_which_media_an_api_cannot_take(gateway, run, api, kind, instead) -> None:
    ended = await run("chat", "-m", "m", "--api", api, f"--{kind}", "no-such-file", "Hi")
    assert ended.code == Exit.USAGE
    assert f"the {api} API takes no {kind}: use --api {instead}" in ended.err
    assert not gateway.log


async def test_chat_media_that_cannot_be_read_or_told(gateway, run, tmp_path) -> None:
    missing = await run("chat", "-m", "m", "--image", str(tmp_path / "none.png"), "Hi")
    assert (missing.code, "none.png: No such file" in missing.err) == (Exit.USAGE, True)
    (tmp_path / "what").write_bytes(b"nothing known")
    unknown = await run("chat", "-m", "m", "--image", str(tmp_path / "what"), "Hi")
    assert (unknown.code, "cannot tell what kind of data" in unknown.err) == (Exit.USAGE, True)
    assert not gateway.log


@pytest.mark.parametrize("api", APIS)
@pytest.mark.usefixtures("gateway")
async def test_chat_json_is_one_event_a_line(run, api) -> None:
    ended = await run("chat", "-m", "m", "--api", api, "--json", "Hi")
    events = [json.loads(line) for line in ended.out.splitlines()]
    assert ended.code == 0
    assert len(events) >= 2
    assert all(isinstance(event, dict) for event in events)
    marks = {
        "chat": lambda event: event["choices"][0]["delta"].get("content", "") if event["choices"] else "",
        "messages": lambda event: event.get("delta", {}).get("text", ""),
        "responses": lambda event: event["delta"] if event["type"] == "response.output_text.delta" else "",
        "gemini": lambda event: "".join(part.get("text", "") for part in event["candidates"][0]["content"]["parts"]),
    }
    assert "".join(map(marks[api], events)) == "Hello there."
    assert "Hello" not in ended.err

    [line] = (await run("chat", "-m", "m", "--api", api, "--json", "--no-stream", "Hi")).out.splitlines()
    assert "Hello there." in line
    assert json.loads(line)


@pytest.mark.parametrize("api", APIS)
@pytest.mark.parametrize("mode", [[], ["--no-stream"]], ids=["streamed", "plain"])
async def test_chat_reasoning_is_shown_when_asked_for_and_never_on_stdout(gateway, run, api, mode) -> None:
    gateway.script = Script(text="Hello there.", reasoning="Let me think.")
    silent = await run("chat", "-m", "m", "--api", api, *mode, "Hi")
    assert "think" not in silent.out + silent.err
    shown = await run("chat", "-m", "m", "--api", api, *mode, "--reasoning", "Hi")
    assert shown.err.startswith("Let me think.\ntokens: ")
    assert shown.out == silent.out == "Hello there.\n"


@pytest.mark.parametrize("api", ["chat", "responses"])
@pytest.mark.parametrize("mode", [[], ["--no-stream"]], ids=["streamed", "plain"])
async def test_chat_tells_a_refusal(gateway, run, api, mode) -> None:
    gateway.script = Script(refusal="I would rather not.")
    ended = await run("chat", "-m", "m", "--api", api, *mode, "Hi")
    assert (ended.code, ended.out) == (0, "")
    assert ended.err.startswith("refused: I would rather not.\ntokens: ")


@pytest.mark.parametrize("api", APIS)
async def test_chat_passes_over_events_of_unknown_kinds(gateway, run, api) -> None:
    unknown = Insert('data: {"type": "brand.new", "delta": {"type": "newer"}, "novel": 1}\n\n', before=2)
    gateway.script = Script(text="Hello there.", reasoning="Hm.", inserts=(unknown,))
    ended = await run("chat", "-m", "m", "--api", api, "--reasoning", "Hi")
    assert (ended.code, ended.out) == (0, "Hello there.\n")
    shown = await run("chat", "-m", "m", "--api", api, "--json", "Hi")
    events = [json.loads(line) for line in shown.out.splitlines()]
    assert [event["novel"] for event in events if event.get("type") == "brand.new"] == [1]


@pytest.mark.parametrize("arguments", [[], ["-"]], ids=["absent", "dash"])
async def test_chat_reads_the_prompt_from_stdin(gateway, run, monkeypatch, arguments) -> None:
    stdin(monkeypatch, "\ufeffWas heißt\n„so“?\n".encode())
    assert (await run("chat", "-m", "m", *arguments)).code == 0
    assert gateway.log[0].body["messages"][0]["content"] == "Was heißt\n„so“?\n"


@pytest.mark.parametrize(
    ("data", "message"), [(b" \n", "the prompt is empty"), (b"caf\xe9", "not UTF-8 (byte 3)"), (None, "no prompt")]
)
async def test_chat_refuses_a_stdin_that_holds_no_prompt(gateway, run, monkeypatch, data, message) -> None:
    if data is None:
        monkeypatch.setattr(sys, "stdin", None)
    else:
        stdin(monkeypatch, data)
    ended = await run("chat", "-m", "m")
    assert ended.code == Exit.USAGE
    assert message in ended.err
    assert not gateway.log


async def test_chat_base_url_wins_over_the_environment(gateway, run, monkeypatch) -> None:
    monkeypatch.setenv("DGRID_BASE_URL", "http://127.0.0.1:9")
    assert (await run("chat", "-m", "m", "--base-url", gateway.url + "/v1/", "Hi")).out == "Hello there.\n"


async def test_chat_prints_what_an_output_cannot_spell(gateway, monkeypatch) -> None:
    gateway.script = Script(text="a → b 😀")
    out = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", out)
    assert await asyncio.to_thread(main, ["chat", "-m", "m", "Hi"]) == 0
    assert out.buffer.getvalue() == b"a ? b ?\n"


# ----------------------------------------------------------------------------------------------------------- exit codes


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Exit.FAILED),
        (401, Exit.REFUSED),
        (402, Exit.REFUSED),
        (403, Exit.REFUSED),
        (404, Exit.FAILED),
        (429, Exit.BUSY),
        (500, Exit.FAILED),
        (503, Exit.BUSY),
        (529, Exit.BUSY),
    ],
)
async def test_chat_exit_code_follows_the_status(gateway, run, status, code) -> None:
    gateway.script = Script(status=status, headers=FINAL, message="It is so.")
    ended = await run("chat", "-m", "m", "Hi")
    assert (ended.code, ended.out) == (code, "")
    assert ended.err.startswith("dgrid-async: ")
    assert "It is so." in ended.err
    assert len(gateway.log) == 1


@pytest.mark.parametrize(
    ("fault", "code", "name"),
    [
        (Cut(), Exit.CUT, "StreamTruncatedError"),
        (Malformed(after=5), Exit.CUT, "StreamDecodeError"),
        (ErrorEvent(after=5, status=529), Exit.BUSY, "OverloadedError"),
        (ErrorEvent(after=5, status=500), Exit.FAILED, "InternalServerError"),
    ],
    ids=["cut", "malformed", "overloaded", "failed"],
)
async def test_chat_keeps_what_had_arrived_before_a_failure(gateway, run, fault, code, name) -> None:
    gateway.script = Script(text=("One", " two", " three", " four"), fault=fault)
    ended = await run("chat", "-m", "m", "--api", "messages", "Hi")
    assert ended.code == code
    assert ended.out.startswith("One two")
    assert ended.out.endswith("\n")
    assert ended.err.startswith(f"dgrid-async: {name}: ")


async def test_chat_answer_that_is_none(gateway, run) -> None:
    gateway.script = Script(fault=Html())
    ended = await run("chat", "-m", "m", "Hi")
    assert (ended.code, ended.out) == (Exit.CUT, "")
    assert "UnexpectedResponseError" in ended.err


async def test_chat_network_failures(gateway, run) -> None:
    gateway.script = Script(fault=Close())
    ended = await run("chat", "-m", "m", "--timeout", "5", "Hi")
    assert (ended.code, "APIConnectionError" in ended.err) == (Exit.NETWORK, True)


async def test_chat_timeout_is_for_the_whole_call(gateway, run) -> None:
    gateway.script = Script(text=("One", " two", " three"), fault=Stall(after=3, comment_every=0.05))
    ended = await run("chat", "-m", "m", "--timeout", "0.5", "Hi")
    assert (ended.code, "APITimeoutError" in ended.err, "total" in ended.err) == (Exit.NETWORK, True, True)
    assert ended.out.startswith("One")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "COMMAND"),
        (["sing"], "sing"),
        (["chat", "Hi"], "--model"),
        (["chat", "-m", "m", "--api", "telnet", "Hi"], "telnet"),
        (["chat", "-m", "m", "--max-tokens", "0", "Hi"], "from 1 on"),
        (["chat", "-m", "m", "--max-tokens", "few", "Hi"], "invalid integer value: 'few'"),
        (["chat", "-m", "m", "--temperature", "nan", "Hi"], "invalid number value: 'nan'"),
        (["chat", "-m", "m", "--timeout", "0", "Hi"], "above 0"),
        (["chat", "-m", "m", "--base-url", "ftp://host", "Hi"], "base_url"),
        (["chat", "-m", "m", ""], "the prompt is empty"),
        (["demo", "--only", "everything"], "everything"),
        (["demo", "--base-url", "nowhere"], "base_url"),
        (["emulate", "--port", "65536"], "0 to 65535"),
        (["emulate", "--pace", "-1"], "from 0 on"),
    ],
)
async def test_wrong_command_lines(run, arguments, message) -> None:
    ended = await run(*arguments)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert message in ended.err


async def test_no_key_is_told_before_the_prompt_is_read(run, monkeypatch) -> None:
    monkeypatch.delenv("DGRID_API_KEY")
    monkeypatch.setattr(sys, "stdin", None)
    for arguments in (["chat", "-m", "m"], ["demo", "--base-url", "http://127.0.0.1:9"]):
        ended = await run(*arguments)
        assert (ended.code, "DGRID_API_KEY" in ended.err) == (Exit.USAGE, True)


async def test_no_key_is_ever_printed(gateway, run, monkeypatch) -> None:
    gateway.script = Script(status=401, message=f"Wrong key: {KEY}")
    for arguments in (["chat", "-m", "m", "Hi"], ["chat", "-m", "m", "--json", "Hi"], ["demo", "--only", "chat"]):
        ended = await run(*arguments, "--base-url", gateway.url)
        assert ended.code in {Exit.REFUSED, Exit.FAILED}
        assert KEY not in ended.out + ended.err
    monkeypatch.setenv("DGRID_API_KEY", f"{KEY}\nline")
    ended = await run("chat", "-m", "m", "Hi")
    assert (ended.code, KEY in ended.err) == (Exit.USAGE, False)


def test_every_error_has_its_exit_code() -> None:
    expected = {
        "ConfigError": Exit.USAGE,
        "AuthenticationError": Exit.REFUSED,
        "PermissionDeniedError": Exit.REFUSED,
        "InsufficientQuotaError": Exit.REFUSED,
        "RateLimitError": Exit.BUSY,
        "OverloadedError": Exit.BUSY,
        "ServiceUnavailableError": Exit.BUSY,
        "APIConnectionError": Exit.NETWORK,
        "APITimeoutError": Exit.NETWORK,
        "PoolTimeoutError": Exit.NETWORK,
        "StreamTruncatedError": Exit.CUT,
        "StreamDecodeError": Exit.CUT,
        "EventTooLargeError": Exit.CUT,
        "UnexpectedResponseError": Exit.CUT,
    }
    for name in errors.__all__:
        cls = getattr(errors, name)
        assert exit_of(cls.__new__(cls)) is expected.get(name, Exit.FAILED), name


# ----------------------------------------------------------------------------------------------------------------- demo


def rows(out: str) -> list[list[str]]:
    """Return the table's rows in cells."""
    lines = out[out.index("endpoint  ") :].splitlines()
    starts = [lines[0].index(head) for head in ("endpoint", "mode")]
    return [[line[: starts[1]].strip(), *line[starts[1] :].split()] for line in lines[1:]]


async def test_demo_runs_every_entry_plain_and_streamed(gateway, run) -> None:
    gateway.script = Script(usage=Usage(12, 34))
    ended = await run("demo")
    assert (ended.code, ended.err) == (0, "")
    table = rows(ended.out)
    titles = ["Claude Messages", "Gemini media recognition", "Gemini text chat", "Chat Completions", "Responses"]
    assert [line[:2] for line in table] == [[title, mode] for title in titles for mode in ("plain", "streamed")]
    for _, mode, events, first, into, out, finish in table:
        assert (events == "-") if mode == "plain" else int(events) > 5
        assert int(first) >= 0
        assert (into, out) == ("12", "34")
        assert finish in {"end_turn", "STOP", "stop", "completed"}
    assert ended.out.count("This answer comes from the emulator, word by word.") == 10
    assert ended.out.count("image/png, 136 bytes; audio/wav, 4044 bytes; video/") == 2
    assert len(gateway.log) == 10


async def test_demo_goes_on_after_a_failing_entry(gateway, run) -> None:
    wrong = Script(status=400, message="Not today.")
    gateway.script = lambda received: wrong if received.path == "/v1/responses" else Script()
    ended = await run("demo", "--only", "responses", "--only", "chat", "--only", "gemini", "-m", "own/model")
    assert ended.code == Exit.FAILED
    assert ended.err.count("Not today.") == 2
    assert "dgrid-async: Responses, streamed: BadRequestError: " in ended.err
    table = rows(ended.out)
    assert [line[-1] for line in table] == ["STOP"] * 2 + ["stop"] * 2 + ["BadRequestError"] * 2
    assert {received.body.get("model", "own/model") for received in gateway.log} == {"own/model"}


async def test_demo_without_a_key_brings_its_own_emulator_and_ends_it(run, monkeypatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # not for what runs in this process
    monkeypatch.delenv("DGRID_API_KEY")
    monkeypatch.setenv("DGRID_BASE_URL", "http://127.0.0.1:9")
    ended = await run("demo", "--only", "chat")
    assert (ended.code, ended.err, len(rows(ended.out))) == (0, "", 2)
    first = ended.out.splitlines()[0]
    assert first.startswith("DGRID_API_KEY is not set")
    assert refuses(int(first.rpartition(":")[2]))


def refuses(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


# -------------------------------------------------------------------------------------------------------------- samples


def test_samples_are_whole_files() -> None:
    png = picture()
    at, kinds = 8, []
    while at < len(png):
        size, kind = int.from_bytes(png[at : at + 4], "big"), png[at + 4 : at + 8]
        data = png[at + 8 : at + 8 + size]
        assert int.from_bytes(png[at + 8 + size : at + 12 + size], "big") == zlib.crc32(kind + data)
        kinds.append(kind)
        at += 12 + size
        if kind == b"IDAT":
            assert len(zlib.decompress(data)) == 32 * (1 + 32 * 3)
    assert kinds == [b"IHDR", b"IDAT", b"IEND"]

    for data, form in ((sound(), b"WAVE"), (film(), b"AVI ")):
        assert (data[:4], data[8:12]) == (b"RIFF", form)
        assert int.from_bytes(data[4:8], "little") == len(data) - 8
    avi = film()
    movie, index = avi.index(b"movi"), avi.index(b"idx1") + 8
    for entry in range(index, len(avi), 16):
        place = movie + int.from_bytes(avi[entry + 8 : entry + 12], "little")
        assert avi[place : place + 4] == avi[entry : entry + 4] == b"00db"
        assert avi[place + 4 : place + 8] == avi[entry + 12 : entry + 16]
    assert (len(avi) - index) // 16 == 4


# ------------------------------------------------------------------------------------------------------------- terminal


class Screen(io.StringIO):
    def __init__(self, journal: list[tuple[str, str]], name: str, tty: bool) -> None:
        super().__init__()
        self.journal, self.name, self.tty = journal, name, tty

    def isatty(self) -> bool:
        return self.tty

    def write(self, text: str) -> int:
        self.journal.append((self.name, text))
        return super().write(text)


@pytest.mark.parametrize("variables", [{"TERM": "xterm"}, {"TERM": "dumb"}, {"TERM": "xterm", "NO_COLOR": "1"}])
def test_reasoning_is_dim_on_a_terminal_that_wants_it(monkeypatch, variables) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    journal: list[tuple[str, str]] = []
    terminal = Terminal(Screen(journal, "out", tty=True), Screen(journal, "err", tty=True))
    terminal.think("Hm.")
    terminal.write("Yes")
    terminal.think("Hm?")
    terminal.write(" and no")
    terminal.end_line()
    dim = variables == {"TERM": "xterm"}
    thoughts = ["\x1b[2mHm.\x1b[0m", "\x1b[2mHm?\x1b[0m"] if dim else ["Hm.", "Hm?"]
    assert journal == [
        ("err", thoughts[0]),
        ("err", "\n"),
        ("out", "Yes"),
        ("err", "\n"),
        ("err", thoughts[1]),
        ("err", "\n"),
        ("out", " and no"),
        ("out", "\n"),
    ]


def test_a_file_gets_the_answer_alone() -> None:
    journal: list[tuple[str, str]] = []
    out, err = Screen(journal, "out", tty=False), Screen(journal, "err", tty=False)
    terminal = Terminal(out, err)
    terminal.write("Yes")
    terminal.think("Hm.\n")
    terminal.write(" and no")
    terminal.note("done")
    assert (out.getvalue(), err.getvalue()) == ("Yes and no\n", "Hm.\ndone\n")


# ---------------------------------------------------------------------------------------------------------- the process


@pytest.fixture(autouse=True)
def _sigint_is_not_ignored():
    # A shell starts what it runs in the background with SIGINT ignored, and a child would inherit that.
    before = signal.getsignal(signal.SIGINT)
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    if before is signal.SIG_IGN:
        signal.signal(signal.SIGINT, before)


def test_signals_are_given_back_and_ignored_ones_left_alone() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN), signal.getsignal(signal.SIGTERM)
    try:
        with Interrupts():
            assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
            assert signal.getsignal(signal.SIGTERM) is not before[1]
        assert signal.getsignal(signal.SIGTERM) is before[1]
    finally:
        signal.signal(signal.SIGINT, before[0])


@contextlib.asynccontextmanager
async def program(*arguments: str, **files: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the whole program as a process of its own, which does not outlive the block."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-W", "error::ResourceWarning", "-m", "dgrid_async", *arguments),
        **{"stdin": asyncio.subprocess.DEVNULL, "stdout": pipe, "stderr": pipe, **files},
        cwd=HERE,
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.communicate()


async def rest(process: asyncio.subprocess.Process) -> Ended:
    out, err = await asyncio.wait_for(process.communicate(), WAIT)
    shown = err.decode()
    assert not any(word in shown for word in ("Traceback", "Exception ignored", "Warning")), shown
    return Ended(process.returncode or 0, (out or b"").decode(), shown)


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
@pytest.mark.parametrize("api", ["messages", pytest.param("gemini", marks=pytest.mark.slow)])
async def test_a_signal_ends_a_stream_and_keeps_what_had_arrived(gateway, number, api) -> None:
    gateway.script = Script(text=("One", " two", " three"), fault=Stall())
    async with program("chat", "-m", "m", "--api", api, "Hi") as process:
        # That it comes at all while the answer is held open shows that it is not buffered.
        assert await process.stdout.readexactly(len("One two")) == b"One two"
        process.send_signal(number)
        ended = await rest(process)
    assert ended.code == 128 + number
    assert ended.out in {"\n", " three\n"}
    assert ended.err == ""
    await asyncio.wait_for(gateway.log[0].closed.wait(), 5)
    assert gateway.log[0].closed_early is True


@pytest.mark.slow
async def test_a_second_signal_ends_what_the_first_could_not(gateway) -> None:
    gateway.script = Script(text=("x" * 1_000_000, "y"))
    reader, writer = os.pipe()
    try:
        async with program("chat", "-m", "m", "Hi", stdout=writer) as process:
            await asyncio.wait_for(gateway.log.wait(), WAIT)
            # One byte shows that it writes; nobody takes the rest, so that it waits in the write.
            assert await asyncio.to_thread(os.read, reader, 1) == b"x"
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(process.wait(), 0.3)
            assert process.returncode is None
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 5) == Exit.TERMINATED
    finally:
        os.close(reader)
        os.close(writer)


async def test_ctrl_c_at_the_prompt() -> None:
    pty = pytest.importorskip("pty")
    near, far = pty.openpty()
    try:
        async with program("chat", "-m", "m", stdin=far) as process:
            assert b"Ctrl-D" in await asyncio.wait_for(process.stderr.readline(), WAIT)
            process.send_signal(signal.SIGINT)
            assert await rest(process) == (Exit.INTERRUPTED, "", "")
    finally:
        os.close(near)
        os.close(far)


async def test_a_reader_that_has_enough_is_no_error(gateway) -> None:
    gateway.script = Script(text=" ".join(["word"] * 500), pace=0.005)
    reader, writer = os.pipe()
    try:
        async with program("chat", "-m", "m", "Hi", stdout=writer) as process:
            assert await asyncio.to_thread(os.read, reader, 4) == b"word"
            os.close(reader)
            os.close(writer)
            reader = writer = -1
            assert await rest(process) == (0, "", "")
    finally:
        for end in (reader, writer):
            if end >= 0:
                os.close(end)
    await asyncio.wait_for(gateway.log[0].closed.wait(), 5)
    assert gateway.log[0].closed_early is True


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no full device here")
@pytest.mark.usefixtures("gateway")
async def test_an_output_that_cannot_be_written() -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    try:
        async with program("chat", "-m", "m", "Hi", stdout=full) as process:
            ended = await rest(process)
    finally:
        os.close(full)
    assert ended.code == Exit.FAILED
    assert ended.err.startswith("dgrid-async: ")
    assert ended.err.count("\n") == 1


async def test_chat_takes_a_piped_prompt(gateway) -> None:
    async with program("chat", "-m", "m", stdin=asyncio.subprocess.PIPE) as process:
        out, _ = await asyncio.wait_for(process.communicate(b"What now?"), WAIT)
    assert (process.returncode, out) == (0, b"Hello there.\n")
    assert gateway.log[0].body["messages"][0]["content"] == "What now?"


@pytest.mark.slow
async def test_demo_as_a_process(monkeypatch) -> None:
    monkeypatch.delenv("DGRID_API_KEY")
    async with program("demo") as process:
        started = time.monotonic()
        arrivals = []
        lines = []
        while line := await asyncio.wait_for(process.stdout.readline(), WAIT):
            arrivals.append(time.monotonic() - started)
            lines.append(line.decode())
        ended = await rest(process)
    assert (ended.code, ended.err) == (0, "")
    assert len(rows("".join(lines))) == 10
    # It comes as it is made, not in one piece at the end.
    assert arrivals[-1] - arrivals[0] > 0.5


def test_a_signal_wakes_the_loop_while_a_command_runs() -> None:
    found = []

    async def command() -> int:
        found.append(signal.set_wakeup_fd(-1))
        signal.set_wakeup_fd(found[0])
        return 3

    with Interrupts() as interrupts:
        assert interrupts.run(command()) == 3
    assert found[0] >= 0
    assert signal.set_wakeup_fd(-1) == -1


@pytest.mark.slow
async def test_ctrl_c_ends_the_demo_and_its_emulator(monkeypatch) -> None:
    monkeypatch.delenv("DGRID_API_KEY")
    async with program("demo") as process:
        port = int((await asyncio.wait_for(process.stdout.readline(), WAIT)).rpartition(b":")[2])
        process.send_signal(signal.SIGINT)
        ended = await rest(process)
    assert (ended.code, ended.err) == (Exit.INTERRUPTED, "")
    assert refuses(port)


# -------------------------------------------------------------------------------------------------------------- emulate


@pytest.mark.parametrize("number", [signal.SIGINT, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
async def test_emulate_serves_until_a_signal(run, tmp_path, number) -> None:
    script = tmp_path / "script.json"
    script.write_text('[{"text": "First."}, {"text": "Second, in pieces."}]')
    async with program("emulate", "--script", str(script), "--pace", "0.05") as process:
        url = (await asyncio.wait_for(process.stdout.readline(), WAIT)).decode().strip()
        assert url.startswith("http://127.0.0.1:")
        hint = await asyncio.wait_for(process.stderr.readuntil(b"stops it.\n"), WAIT)
        assert f"DGRID_BASE_URL={url} DGRID_API_KEY=".encode() in hint
        answers = []
        for api in ("messages", "gemini", "chat"):
            began = time.monotonic()
            ended = await run("chat", "-m", "m", "--api", api, "--base-url", url, "Hi")
            answers.append(ended.out)
        assert answers == ["First.\n", "Second, in pieces.\n", "Second, in pieces.\n"]
        assert time.monotonic() - began >= 4 * 0.05
        process.send_signal(number)
        assert await rest(process) == (128 + number, "", "")
    assert refuses(int(url.rpartition(":")[2]))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "cannot read"),
        ("{", "is not JSON"),
        ("[]", "one at least"),
        ('{"txet": ""}', "unknown txet"),
        ('[{"text": "a"}, 3]', "an object is wanted"),
    ],
)
async def test_emulate_refuses_a_file_that_is_no_script(run, tmp_path, content, message) -> None:
    path = tmp_path / "script.json"
    if content is not None:
        path.write_text(content)
    ended = await run("emulate", "--script", str(path))
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert message in ended.err
    assert str(path) in ended.err


async def test_emulate_says_that_a_port_is_taken(gateway, run) -> None:
    port = gateway.url.rpartition(":")[2]
    ended = await run("emulate", "--port", port)
    assert (ended.code, ended.out) == (Exit.USAGE, "")
    assert f"cannot listen on 127.0.0.1, port {port}: " in ended.err


# ----------------------------------------------------------------------------------------------------------------- help


async def test_help_lists_commands_variables_and_exit_codes(run) -> None:
    ended = await run("--help")
    assert (ended.code, ended.err) == (0, "")
    for word in ("chat", "demo", "emulate", "DGRID_API_KEY", "DGRID_BASE_URL", *(f"\n  {code:<4d}" for code in Exit)):
        assert word in ended.out
    assert KEY not in ended.out


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("chat", "-m --model --api --system --max-tokens --temperature --image --audio --video --json --reasoning"),
        ("chat", "--no-stream --base-url --timeout PROMPT stdin"),
        ("demo", "--only --model --base-url messages gemini-media gemini chat responses"),
        ("emulate", "--port --host --script --pace"),
    ],
)
async def test_help_of_a_command_lists_its_options(run, command, options) -> None:
    ended = await run(command, "--help")
    assert ended.code == 0
    for option in options.split():
        assert option in ended.out


def test_help_loads_nothing_heavy() -> None:
    heavy = ["aiohttp", "anyio", "asyncio", "cattrs", "dgrid_async.client", "dgrid_async.emulator"]
    code = (
        "import sys; from dgrid_async.cli import main\n"
        "code = main(['--help'])\n"
        f"print(code, [name for name in {heavy} if name in sys.modules], file=sys.stderr)"
    )
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=15, check=True)
    assert ended.stderr == "0 []\n"
