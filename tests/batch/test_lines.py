"""The input: every line is a request or a problem with its number, and what the whole is costs bounded memory to know."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dgrid_async import ConfigError
from dgrid_async.batch import lines
from dgrid_async.batch.lines import BadLine, Line, check_endpoint, parse, read, survey, unread

BODY = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


def row(name: str, **fields: Any) -> dict[str, Any]:
    return {"custom_id": name, "method": "POST", "url": "/v1/chat/completions", "body": BODY, **fields}


def put(path: Path, *rows: Any, end: str = "\n") -> Path:
    path.write_bytes(b"".join((each if isinstance(each, bytes) else json.dumps(each).encode()) + end.encode() for each in rows))
    return path


def only(path: Path, **options: Any) -> Line:
    [line] = read(path, **options)
    assert isinstance(line, Line)
    return line


@pytest.mark.parametrize(
    ("url", "body", "endpoint"),
    [
        ("/v1/chat/completions", BODY, "chat_completions"),
        ("/v1/messages", {**BODY, "max_tokens": 5}, "messages"),
        ("/v1/responses", {"model": "m", "input": "hi"}, "responses"),
        ("/v1/models/g:generateContent", {"contents": []}, "generate_content"),
    ],
)
def test_each_endpoint_is_read(tmp_path: Path, url: str, body: dict[str, Any], endpoint: str) -> None:
    line = only(put(tmp_path / "in", row("a", url=url, body=body)))
    assert (line.number, line.custom_id, line.endpoint) == (1, "a", endpoint)
    assert line.params == ({**body, "model": "g"} if endpoint == "generate_content" else body)
    assert not line.stream


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (b"{oops", "no JSON"),
        (b'{"custom_id": "\xff"}', "not UTF-8"),
        (b"[1]", "a line is a JSON object, not a list"),
        (row(""), "no custom_id"),
        (row(7), "no custom_id"),  # type: ignore[arg-type]  # what a file may hold
        (row("a", url="/v1/embeddings"), "/v1/embeddings"),
        (row("a", url=None), "no url"),
        (row("a", url=["x"]), "no url"),
        (row("a", method="GET"), "method='GET'"),
        (row("a", body=None), "NoneType"),
        (row("a", body={"messages": []}), "has no 'model'"),
        (row("a", body={**BODY, "timeouts": 3}), "'timeouts'"),
    ],
)
def test_a_bad_line_has_its_problem_and_number_and_the_rest_goes_on(tmp_path: Path, line: Any, problem: str) -> None:
    first, bad, last = read(put(tmp_path / "in", row("one"), line, row("three")))
    assert isinstance(first, Line)
    assert isinstance(last, Line)
    assert isinstance(bad, BadLine)
    assert bad.number == 2
    assert problem in bad.problem


@pytest.mark.parametrize("name", ["plain", "packed"])
def test_mark_blank_lines_and_line_ends_are_taken_as_they_come(tmp_path: Path, name: str) -> None:
    data = b"\xef\xbb\xbf" + json.dumps(row("a")).encode() + b"\r\n\r\n  \n" + json.dumps(row("b")).encode()
    path = tmp_path / name
    path.write_bytes(gzip.compress(data[:40]) + gzip.compress(data[40:]) if name == "packed" else data)
    assert [(line.number, line.custom_id) for line in read(path)] == [(1, "a"), (4, "b")]
    found = survey(path)
    assert (found.lines, found.filled, found.repeats) == (4, (2,), ())


def test_what_the_fast_decoder_refuses_passes(tmp_path: Path) -> None:
    line = only(put(tmp_path / "in", row("a", body={**BODY, "user": "\ud83d\ude00 \ud800"})))
    assert line.params["user"] == "\U0001f600 \ufffd"


def test_what_is_wrong_with_a_line_does_not_depend_on_its_end(tmp_path: Path) -> None:
    text = b'{"custom_id": "a", "body": "cut'
    [last] = read(put(tmp_path / "one", text, end=""))
    first, _ = read(put(tmp_path / "two", text, row("a")))
    assert isinstance(last, BadLine)
    assert first == last


def test_an_input_of_usual_size_is_read_once(tmp_path: Path) -> None:
    path = put(tmp_path / "in", *(row(f"id-{n}") for n in range(10_000)))
    seen: list[int] = []
    survey(path, tick=seen.append)
    assert seen == sorted(seen)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b""])
def test_a_line_above_the_bound_is_a_problem_and_is_not_held(tmp_path: Path, end: bytes) -> None:
    text = json.dumps(row("a")).encode()
    path = tmp_path / "in"
    path.write_bytes(text + b"\n" + b"x" * (3 * len(text)) + end)
    assert [type(line) for line in read(path, most=len(text))] == [Line, BadLine]
    assert [type(line) for line in read(path, most=len(text) - 1)] == [BadLine, BadLine]
    bad = parse(9, None, None)
    assert isinstance(bad, BadLine)
    assert "longer" in bad.problem
    assert survey(path, most=10).lines == 2


def test_bare_bodies_are_named_by_their_numbers(tmp_path: Path) -> None:
    path = put(tmp_path / "in", BODY, b"", {**BODY, "custom_id": "x"}, b"{")
    found = list(read(path, endpoint="/v1/chat/completions"))
    assert [(line.number, line.custom_id, isinstance(line, BadLine)) for line in found] == [
        (1, "1", False),
        (3, "3", False),
        (4, "4", True),
    ]
    assert survey(path, endpoint="/v1/chat/completions").repeats == ()


def test_an_endpoint_that_is_none_is_refused() -> None:
    check_endpoint("/v1/models/a/b:generateContent")
    with pytest.raises(ConfigError, match="/v1/embeddings"):
        check_endpoint("/v1/embeddings")


def test_done_lines_and_other_shards_are_left_out(tmp_path: Path) -> None:
    path = put(tmp_path / "in", *(row(str(n)) for n in range(1, 11)))
    assert [line.number for line in read(path, shard=1, shards=3, done={5})] == [2, 8]
    numbers = [line.number for shard in range(3) for line in read(path, shard=shard, shards=3)]
    assert sorted(numbers) == list(range(1, 11))
    assert survey(path, shards=3).filled == (4, 3, 3)


def test_a_repeated_id_is_a_problem_at_its_later_places(tmp_path: Path) -> None:
    path = put(tmp_path / "in", row("a"), row("b"), row("a", url="/v1/no"), b"{", row("b"), row("a"), row("c"))
    found = survey(path)
    assert found.repeats == (3, 5, 6)
    problems = {line.number: line.problem for line in read(path, repeats=found.repeats) if isinstance(line, BadLine)}
    assert set(problems) == {3, 4, 5, 6}
    assert "'b'" in problems[5]


def test_repeats_are_exact_however_crowded_the_filter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_LEAST_BITS", 64)
    monkeypatch.setattr(lines, "_BITS", 1)  # nearly every id looks like one that came before
    rows = [row(f"id-{n}") for n in range(3000)]
    rows[2500] = row("id-7")
    assert survey(put(tmp_path / "in", *rows)).repeats == (2501,)


def test_the_digest_is_of_the_content_alone(tmp_path: Path) -> None:
    plain = put(tmp_path / "a", row("a"), row("b"))
    packed = tmp_path / "b"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    assert survey(plain).digest == survey(packed).digest
    assert survey(plain).digest != survey(put(tmp_path / "c", row("a"), row("c"))).digest


@pytest.mark.parametrize("data", [gzip.compress(b"{}\n" * 4000)[:-9], b"\x1f\x8b nothing of the kind"], ids=["cut", "none"])
def test_a_broken_archive_is_the_callers_to_mend(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "in.gz"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="unpacked"):
        survey(path)
    with pytest.raises(ConfigError, match="unpacked"):
        list(read(path))


def test_a_file_that_is_not_there_is_the_callers_to_mend(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read"):
        survey(tmp_path / "none")


def test_it_tells_how_far_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = put(tmp_path / "in", *(row(str(n % 20)) for n in range(30)))
    monkeypatch.setattr(lines, "_BUFFER", path.stat().st_size // 3 + 9)
    seen: list[int] = []
    survey(path, tick=seen.append)
    steps = [number for n, number in enumerate(seen) if not n or number != seen[n - 1]]
    first, second = steps[:3], steps[3:]  # the second look at repeated ids too
    assert first[0] == 0
    assert 10 <= first[1] < first[2] < 30
    assert [number - 1 for number in second] == first


def test_a_line_that_is_too_long_is_no_time_without_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_BUFFER", 1000)
    path = put(tmp_path / "in", b"x" * 50_000, row("a"))
    seen: list[int] = []
    survey(path, most=5000, tick=seen.append)
    assert seen.count(0) >= 45


TRICKY = st.sampled_from(
    [
        b'{"custom_id": "a", "x": 1}',
        b'{"custom_id":"b"}',
        b'{"custom_id": "b"}\r',
        b'{"custom_id": "a", "custom_id": "c"}',  # the last counts
        b'{"custom_id": "d", "custom\\u005fid": "a"}',
        b'{"custom\\u005fid": "b"}',
        b'{"custom_id": "\\u0061"}',
        b'{"x": {"custom_id": "a"}, "custom_id": "e"}',
        b'{"custom_id": "f", "x": "custom_id"}',
        b'{"custom_id": "\xc3\xa9"}',
        b'{"custom_id": "\\u00e9"}',
        b'{"custom_id": "\\ud800"}',
        b'{"custom_id": "a", oops}',
        b'{"custom_id": "g\xff"}',
        b'{"custom_id": ""}',
        b'{"custom_id": 5}',
        b'[{"custom_id": "a"}]',
        b' {"custom_id": "a"}',
        b"{}",
        b"",
        b" \t",
    ]
)


@given(st.lists(TRICKY | st.integers(0, 30).map(lambda n: b'{"custom_id": "n%d"}' % n)), st.integers(1, 90), st.booleans())
@settings(max_examples=25, deadline=None)
def test_ids_and_counts_are_those_that_decoding_each_line_finds(rows: list[bytes], buffer: int, ended: bool) -> None:
    data = b"\n".join(rows) + b"\n" * ended
    texts = data.split(b"\n")[: None if data and not data.endswith(b"\n") else -1]
    names = [None if text.isspace() else lines._id_of(text) for text in texts]
    filled = [0, 0]
    for place, text in enumerate(texts):
        filled[place % 2] += bool(text.strip())
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory() as directory:
        patch.setattr(lines, "_BUFFER", buffer)
        path = Path(directory) / "in"
        path.write_bytes(data)
        found = survey(path, shards=2)
        bare = survey(path, shards=2, endpoint="/v1/messages")
        assert [number for some in unread(path) for number, _ in some] == [n for n, text in enumerate(texts, 1) if text.strip()]
    assert (found.lines, found.filled) == (bare.lines, bare.filled) == (len(texts), tuple(filled))
    assert found.digest == hashlib.blake2b(data, digest_size=16).hexdigest()
    assert found.repeats == tuple(n + 1 for n, name in enumerate(names) if name and name in names[:n])


@pytest.mark.slow
def test_ids_are_compared_in_two_bytes_a_line(tmp_path: Path) -> None:
    sizes = []
    for count in (10_000, 30_000):
        path = put(tmp_path / str(count), *(row(f"request-{n:08}") for n in range(count)))
        tracemalloc.start()
        assert survey(path).repeats == ()
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert (sizes[1] - sizes[0]) / 20_000 < 8


def test_a_second_reading_takes_the_room_of_the_first(tmp_path: Path) -> None:
    rows = [row(f"request-{n:08}") for n in range(10_000)]
    put(tmp_path / "in", *rows)
    put(tmp_path / "again", *rows, rows[0])
    sizes = []
    for name in ("in", "again"):
        survey(tmp_path / name)  # what is made at first use
        tracemalloc.start()
        repeats = survey(tmp_path / name).repeats
        sizes.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert repeats == (10_001,)
    assert sizes[1] - sizes[0] < 100_000  # with the table of the first kept meanwhile: 590,000
