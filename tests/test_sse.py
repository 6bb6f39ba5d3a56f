"""The event stream decoder: the standard to the letter, in whatever pieces, within its bounds."""

from __future__ import annotations

import json
import sys
import tracemalloc
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import pairwise, permutations
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from dgrid_async import large_json, sse
from dgrid_async.errors import EventTooLargeError
from dgrid_async.large_json import LargeJSON
from dgrid_async.sse import Payload, ServerSentEvent, SSEDecoder, Stray

TRANSCRIPTS = sorted((Path(__file__).parent / "transcripts").rglob("*.sse"))
Reader = Callable[[SSEDecoder, bytes], list[ServerSentEvent]]


def reference(data: bytes) -> list[ServerSentEvent]:
    """Return the events of a whole body, by the steps of WHATWG HTML 9.2.6 and nothing of the decoder's own."""
    text = data.decode("utf-8", "replace").removeprefix("\ufeff")
    *lines, _ = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    events: list[ServerSentEvent] = []
    buffer, name, last_id, retry = "", "", "", None
    for line in lines:
        if line == "":
            if buffer:
                events.append(ServerSentEvent(name or "message", buffer.removesuffix("\n"), last_id, retry))
            buffer, name, retry = "", "", None
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match field:
            case "data":
                buffer += value + "\n"
            case "event":
                name = value
            case "id" if "\0" not in value:
                last_id = value
            case "retry" if value and set(value) <= set("0123456789"):
                retry = int(value)
    return events


def fed(data: bytes, cuts: Iterable[int] = (), decoder: SSEDecoder | None = None) -> list[ServerSentEvent]:
    """Return the events of a body that comes in pieces, what its end leaves unfinished aside."""
    decoder = decoder or SSEDecoder()
    edges = [0, *cuts, len(data)]
    return [event for start, end in pairwise(edges) for event in decoder.feed(data[start:end])]


def taken(data: bytes, cuts: Iterable[int] = (), decoder: SSEDecoder | None = None) -> list[Payload]:
    """Return the payloads of a body that comes in pieces, its end included."""
    decoder = decoder or SSEDecoder()
    edges = [0, *cuts, len(data)]
    pieces = [item for start, end in pairwise(edges) for item in decoder.payloads(data[start:end])]
    return [*pieces, *decoder.last_payloads()]


def as_data(payload: Payload) -> str:
    assert not isinstance(payload, Stray)
    return payload.data if isinstance(payload, ServerSentEvent) else bytes(payload).decode("utf-8", "replace")


def every_way(data: bytes) -> None:
    """Check a body against the reference: whole, byte by byte, at every split point, and as payloads."""
    expected = reference(data)
    assert fed(data) == expected
    assert fed(data, range(1, len(data))) == expected
    for cut in range(len(data) + 1):
        assert fed(data, [cut]) == expected, cut


# ------------------------------------------------------------------------------------------------------- the standard


@pytest.mark.parametrize("path", TRANSCRIPTS, ids=lambda path: f"{path.parent.name}-{path.stem}")
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n", b"\r"], ids=["lf", "crlf", "cr"])
def test_transcript_in_any_pieces(path: Path, line_end: bytes) -> None:
    data = path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", line_end)
    expected = reference(data)
    assert fed(data) == expected
    assert fed(data, range(1, len(data))) == expected
    # Splitting a long body at every byte takes its square; a prime step still meets every place of a line.
    step = max(1, len(data) // 400) | 1
    for cut in range(0, len(data), step):
        assert fed(data, [cut]) == expected


def test_there_are_transcripts() -> None:
    assert len(TRANSCRIPTS) >= 40
    assert sum(len(reference(path.read_bytes())) for path in TRANSCRIPTS) > 300


@pytest.mark.parametrize(
    "data",
    [
        b"data: one\n\ndata: two\n\n",
        b"data:without space\n\ndata:  two spaces\n\n",
        b"data\n\ndata\ndata\n\ndata:\n\n",
        b": comment\n\n:\n\n: PING\ndata: x\n: inside\ndata: y\n\n",
        b"event: a\n\ndata: the name above belonged to no event\n\n",
        b"event: a\nevent: b\ndata: the last name counts\n\nevent\ndata: an empty name is none\nevent:\n\n",
        b"id: 1\ndata: x\n\ndata: keeps the id\n\nid\ndata: an empty id\n\n",
        b"id: a\x00b\ndata: an id with NUL is no id\n\nid: 7\nid: \x00\ndata: y\n\n",
        b"id: 9\n\ndata: an id alone is remembered\n\n",
        b"retry: 100\ndata: x\n\nretry: -1\ndata: y\n\nretry: 1x\ndata: z\n\nretry:\ndata: w\n\n",
        b"retry: 007\nretry: 8 \ndata: x\n\nretry: \xd9\xa1\ndata: other digits are none\n\n",
        b"data : a space in the name\n\n data: a space before it\n\nDATA: capitals\n\ndatum: x\n\n",
        b"data: x\ndata: unfinished",
        b"\n\n\n\ndata: x\n\n\n\n\ndata: y\n\n\n",
        b"\n",
        b"",
        b"\r\r\n\r\n\n\rdata: x\r\r\r\ndata: y\r\n\r\n",
        b"data: a\rdata: b\r\ndata: c\n\r\n",
        b"data: cut\r\n\rdata: next\r\r",
        "data: a\u2028b\u2029c\u0085d\x0be\x0cf\x1cg\n\n".encode(),
        "data: \u00e9\u20ac\U0001f600\n\n".encode(),
        b"data: \xff\xfe\xc3\n\ndata: \xf0\x9f\x98\ndata: \x80\n\n",
        b"\xef\xbb\xbfdata: after a mark\n\n",
        b"\xef\xbb\xbf\xef\xbb\xbfdata: after two: no field\n\ndata: x\n\n",
        b"\xef\xbb\xbf",
        b"\xef\xbbdata: half a mark\n\ndata: y\n\n",
        b"data: a mark \xef\xbb\xbf inside\n\n\xef\xbb\xbfdata: no field\n\n",
        b'{"a":\ndata: a field behind a line of JSON\n\n[1,\n2]\nevent: e\ndata: x\n\n',
        b"data: {}\n\nevent: ping\ndata: {}\n\nevent: error\ndata: {}\n\nevent: x\ndata: {}\n\n",
    ],
)
def test_letter_of_the_standard(data: bytes) -> None:
    every_way(data)


NAMES = ["data", "event", "id", "retry", "", "dat", "data ", "Data", "x", "{", "[", "\ufeff", "\ufeffdata"]
LINE = st.one_of(
    st.builds(
        lambda name, colon, value: (name + colon + value).encode(),
        st.sampled_from(NAMES),
        st.sampled_from(["", ":", ": ", ":  "]),
        st.sampled_from(["", "x", "error", "ping", "12", '{"a":1}', "[DONE]", "\u2028", "\u0085", "\0", "é", ":"]),
    ),
    st.binary(max_size=4).filter(lambda line: not set(line) & set(b"\r\n")),
)
BODY = st.builds(
    lambda head, lines: head + b"".join(line + end for line, end in lines),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xef\xbb", b"\xef\xbb\xbf\xef\xbb\xbf"]),
    st.lists(st.tuples(LINE, st.sampled_from([b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", b""])), max_size=12),
)


@st.composite
def cut_bodies(draw: st.DrawFn) -> tuple[bytes, list[int]]:
    data = draw(BODY)
    return data, sorted(draw(st.lists(st.integers(0, len(data)), max_size=6)))


@settings(max_examples=150, deadline=None, database=None)
@given(cut_bodies())
@example((b"data: x\r\n\r\n", [8, 9, 10]))
@example((b"\xef\xbb\xbfdata: x\n\n", [0, 1, 1, 2]))
def test_any_lines_in_any_pieces(case: tuple[bytes, list[int]]) -> None:
    data, cuts = case
    assert fed(data, cuts) == fed(data) == fed(data, range(1, len(data))) == reference(data)


@pytest.fixture
def small_is_large() -> Iterator[None]:
    """Let an event of some bytes be a large one, and a string of some bytes a long one."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sse, "LARGE_BYTES", 8)
        patch.setattr(large_json, "_LONG_BYTES", 2)
        yield


@settings(max_examples=150, deadline=None, database=None)
@given(cut_bodies())
@example((b"data:12\n{\ndata\n", []))
@example((b"data:12\n{\ndata:x\n", []))
def test_payloads_say_what_feed_does(case: tuple[bytes, list[int]]) -> None:
    compare(*case)


@settings(max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(cut_bodies())
@example((b'data: {"a":"xyz\xc3\xa9"}\r\ndata: x\r\n', [8, 13, 17]))
@example((b"data: [DONE]\n", [9]))
@example((b"{\n\ndata: 12", []))
@pytest.mark.usefixtures("small_is_large")
def test_large_payloads_say_what_feed_does(case: tuple[bytes, list[int]]) -> None:
    compare(*case)


def compare(data: bytes, cuts: list[int]) -> None:
    decoder = SSEDecoder()
    events = [*fed(data, cuts, decoder), *decoder.end()]
    payloads = taken(data, cuts)
    stray = next((n for n, item in enumerate(payloads) if isinstance(item, Stray)), len(payloads))
    assert all(isinstance(item, Stray) for item in payloads[stray:])
    whole = stray
    if stray == len(payloads):
        assert len(payloads) == len(events)
    elif stray:  # the stray text may begin among the lines of the event before it
        whole -= 1
        # Without its blank line that event may be complete up to the stray text, and none with it.
        assert all(event.data.startswith(as_data(payloads[whole])) for event in events[whole : whole + 1])
        assert len(events) > whole or not data.endswith((b"\n\n", b"\r\n\r\n", b"\r\r"))
    assert [as_data(item) for item in payloads[:whole]] == [event.data for event in events[:whole]]
    for item, event in zip(payloads[:whole], events, strict=False):
        if isinstance(item, ServerSentEvent):
            assert item == event
        else:
            assert event.event not in {"error", "ping"}
            assert "\n" not in event.data


def test_no_retry_of_thousands_of_digits() -> None:
    data = b"retry: " + b"9" * 5000 + b"\ndata: x\n\n"
    assert fed(data) == [ServerSentEvent(data="x")]


# ------------------------------------------------------------------------------------------------------- payloads


def test_plain_events_are_the_bytes_of_their_data() -> None:
    assert SSEDecoder().payloads(b'data: {"a":1}\n\nevent: delta\ndata: {"b":2}\n\n') == [b'{"a":1}', b'{"b":2}']


def test_what_stands_before_the_data_may_change_at_each_event() -> None:
    blocks = [
        b'data: {"a":1}',
        b"event: x\ndata: 2",
        b"event: x\ndata: 3\ndata: 4",
        b"event: error\ndata: 5",
        b"event: xy\ndata: 6",
    ]
    expected = [b'{"a":1}', b"2", ServerSentEvent("x", "3\n4"), ServerSentEvent("error", "5"), b"6"]
    for order in permutations(range(len(blocks))):
        together, apart = SSEDecoder(), SSEDecoder()
        wanted = [expected[n] for n in order]
        assert together.payloads(b"".join(blocks[n] + b"\n\n" for n in order)) == wanted
        assert [item for n in order for item in apart.payloads(blocks[n] + b"\n\n")] == wanted


@pytest.mark.parametrize("lead", [b"data: ", b"event: x\ndata: "])
@pytest.mark.parametrize("behind", [b"", b"\n", b"ev", b"data: 5", b"data: 5\n"])
def test_among_events_of_one_line_each_another_is_seen(lead: bytes, behind: bytes) -> None:
    others = [b"2", b"2\nid: 7", b"2\n: no field", b"2\ndata: 3", b"2\n", b"", b"2\r", b"2\n\n: no field", b"2\n\ndata:3"]
    first = lead + b"0\n\n"
    for other in others:
        data = first + b"".join(lead + item + b"\n\n" for item in (b"1", other, b"4")) + behind
        whole = [as_data(item) for item in taken(data, [len(first)])]
        assert whole == [as_data(item) for item in taken(data, range(1, len(data)))]
        compare(data, [len(first)])
    compare(first + lead + b"1\n\n" + lead + b"2\n{\n\n" + behind, [len(first)])


@pytest.mark.parametrize("lead", [b"data: ", b"event: x\ndata: "])
def test_events_of_one_line_each_cost_no_call_of_their_own(lead: bytes) -> None:
    decoder = SSEDecoder()
    decoder.payloads(lead + b"0\n\n")

    def calls(count: int) -> int:
        seen: list[str] = []
        sys.setprofile(lambda _, event, __: seen.append(event))
        try:
            payloads = decoder.payloads((lead + b"1\n\n") * count + lead)
        finally:
            sys.setprofile(None)
        assert payloads == [b"1"] * count
        decoder.payloads(b"2\n\n")
        return len(seen)

    assert calls(1) == calls(100)


@pytest.mark.parametrize("name", ["error", "ping", "error_event"])
def test_names_that_tell_something_are_kept(name: str) -> None:
    payloads = SSEDecoder().payloads(f"event: {name}\ndata: x\n\n".encode())
    assert payloads == [ServerSentEvent(event=name, data="x")]


@pytest.mark.parametrize(
    ("block", "data"),
    [
        (b"data: a\ndata: b", "a\nb"),
        (b"data:a", "a"),
        (b": c\ndata: a", "a"),
        (b"event: e\nid: 1\ndata: a", "a"),
        (b"event: e\ndata: a\ndata: b", "a\nb"),
        (b"retry: 3\ndata: a", "a"),
    ],
)
def test_other_events_come_whole(block: bytes, data: str) -> None:
    (payload,) = SSEDecoder().payloads(block + b"\n\n")
    assert isinstance(payload, ServerSentEvent)
    assert payload.data == data


def test_the_id_of_a_plain_event_lives_on() -> None:
    decoder = SSEDecoder()
    decoder.payloads(b"id: 4\ndata: x\n\n")
    (event,) = decoder.payloads(b"data: y\ndata: z\n\n")
    assert isinstance(event, ServerSentEvent)
    assert event.id == "4"


LARGE = b'{"a": "\xc3\xa9 and \\ud83d\\ude00", "b": [1, "2"]}'


@pytest.mark.usefixtures("small_is_large")
@pytest.mark.parametrize("lead", [b"data: ", b"event: delta\ndata: "])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n", b"", b"\n: c\n\n", b"\nid: 7\n\n", b"\r\ndata\r\n\r\n"])
def test_a_large_payload_in_any_pieces(lead: bytes, end: bytes) -> None:
    data = b"data: 1\n\n" + lead + LARGE + end
    rest = b"data: 2\n\n" if end.count(b"\r") + end.count(b"\n") > 1 else b""
    value = json.loads(LARGE)
    met = set()
    for cut in range(len(data)):
        for cuts in ([cut], [cut, min(cut + 9, len(data))], range(1, len(data))):
            first, event, *others = taken(data + rest, cuts)
            met.add(type(event))
            assert as_data(first) == "1"
            assert json.loads(as_data(event)) == value
            assert [as_data(item) for item in others] == ["2"] * bool(rest)
    assert (LargeJSON in met) is not (b"id" in end or b": c" in end or b"data" in end)


@pytest.mark.usefixtures("small_is_large")
def test_an_unfinished_large_payload_is_dropped() -> None:
    for cut in range(7, len(LARGE) + 5):
        assert taken(b"data: " + LARGE[: cut - 6], [15]) == []


@pytest.mark.usefixtures("small_is_large")
def test_a_large_payload_is_bounded() -> None:
    data = b"data: " + LARGE
    assert len(taken(data + b"\n\n", [20], SSEDecoder(len(data)))) == 1
    for text in (data + b" ", data + b"\n\n" + data + b"\n\n"):
        decoder = SSEDecoder(len(data) if text.endswith(b" ") else len(data) - 1)
        with pytest.raises(EventTooLargeError):
            taken(text, [20, len(data)], decoder)
        with pytest.raises(EventTooLargeError):
            decoder.payloads(b"data: x\n\n")
    with pytest.raises(EventTooLargeError):
        taken(data + b"\nid: 1234\n\n", [20], SSEDecoder(len(data) + 2))


def test_a_large_payload_is_decoded_as_it_comes() -> None:
    decoder = SSEDecoder(None)
    chunk = b"x" * 65536
    tracemalloc.start()
    try:
        assert decoder.payloads(b'data: {"a": "') == []
        for _ in range(400):
            assert decoder.payloads(chunk) == []
        (payload,) = decoder.payloads(b'"}\n\n')
        assert isinstance(payload, LargeJSON)
        assert payload.value() == {"a": "x" * 65536 * 400}
        # The text, that of the comparison, and nothing of their size.
        assert tracemalloc.get_traced_memory()[1] < 2.2 * 65536 * 400
    finally:
        tracemalloc.stop()


# ------------------------------------------------------------------------------------------------------- stray texts

ERROR = b'{"error": {\n  "message": "no",\n\n  "code": 503\n}}'


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n", b"\ndata: [DONE]\n\n", b"\r\n\r\ndata: [DONE]\r\n\r\n"])
def test_stray_text_in_any_pieces(tail: bytes) -> None:
    data = b": PING\n\n" + b'data: {"a":1}\n\n' + ERROR + tail
    ways: list[Iterable[int]] = [[], range(1, len(data)), *([cut] for cut in range(len(data)))]
    for cuts in ways:
        first, *strays = taken(data, cuts)
        assert as_data(first) == '{"a":1}'
        texts = [item.text for item in strays if isinstance(item, Stray)]
        assert len(texts) == len(strays) > 0
        assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
        value, _ = json.JSONDecoder().raw_decode(texts[-1].decode())
        assert value == {"error": {"message": "no", "code": 503}}


def test_stray_text_before_its_fields_hides_them() -> None:
    (stray,) = SSEDecoder().payloads(b'{"error": 1}\ndata: [DONE]\n\n')
    assert stray == Stray(b'{"error": 1}\ndata: [DONE]')


def test_stray_text_behind_fields_comes_after_them() -> None:
    assert SSEDecoder().payloads(b'data: {"a":1}\n[{"error": 1}]\n\n') == [
        ServerSentEvent(data='{"a":1}'),
        Stray(b'[{"error": 1}]'),
    ]


def test_stray_text_says_nothing_new_before_it_grows() -> None:
    decoder = SSEDecoder()
    assert decoder.payloads(b"{\n\n") == [Stray(b"{")]
    assert decoder.payloads(b'"a": 1') == []
    assert decoder.payloads(b"\n\n") == [Stray(b'{\n\n"a": 1')]


def test_stray_text_is_bounded() -> None:
    decoder = SSEDecoder(10)
    assert decoder.payloads(b"[1,\n\n") == [Stray(b"[1,")]
    assert decoder.payloads(b"2,3\n\n") == [Stray(b"[1,\n\n2,3")]
    with pytest.raises(EventTooLargeError):
        decoder.payloads(b"4,5\n\n")
    with pytest.raises(EventTooLargeError):
        decoder.last_payloads()


def test_what_came_before_a_stray_text_grew_above_the_bound_is_handed_on_in_any_pieces() -> None:
    data = b"data: 1\n\n[1,\n\n2,3\n\n4,5\n\n"
    ways: list[Iterable[int]] = [[], range(1, len(data)), *([cut] for cut in range(1, len(data)))]
    for cuts in ways:
        decoder = SSEDecoder(10)
        items: list[Payload] = []
        with suppress(EventTooLargeError):
            for start, end in pairwise([0, *cuts, len(data)]):
                items += decoder.payloads(data[start:end])
        assert as_data(items[0]) == "1"
        assert items[-1] == Stray(b"[1,\n\n2,3")
        with pytest.raises(EventTooLargeError):
            decoder.last_payloads()


def test_a_stray_text_above_the_bound_from_its_beginning_comes_behind_its_event() -> None:
    decoder = SSEDecoder(10)  # comments do not count for an event, but these lines are no comments
    data = b"data: 1\n[\n:23456\n:89012\n\n"
    assert decoder.payloads(data) == [ServerSentEvent(data="1")]
    with pytest.raises(EventTooLargeError):
        decoder.payloads(b"\n")
    with pytest.raises(EventTooLargeError):
        SSEDecoder(10).payloads(data.removeprefix(b"data: 1\n"))


# ------------------------------------------------------------------------------------------------------- the body's end


@pytest.mark.parametrize(
    ("tail", "events"),
    [
        (b'data: {"a": 1}', [ServerSentEvent(data='{"a": 1}')]),
        (b'event: e\ndata: {"a": 1}\n', [ServerSentEvent(event="e", data='{"a": 1}')]),
        (b"event: e\r\ndata: [DONE]\r", [ServerSentEvent(event="e", data="[DONE]")]),
        (b"data: [DONE] ", [ServerSentEvent(data="[DONE] ")]),
        (b"data: [\ndata: 1]", [ServerSentEvent(data="[\n1]")]),
        (b"data: " + b"9" * 5000, [ServerSentEvent(data="9" * 5000)]),
        (b'data: {"a": 1', []),
        (b'data: {"a": 1}\ndata: {', []),
        (b"data: [DONE", []),
        (b"data: words", []),
        (b"data: " + b"[" * 100_000, []),
        (b"data:", []),
        (b"event: e", []),
        (b": comment", []),
        (b'{"a": 1}', []),
        (b"\xef\xbb", []),
        (b"", []),
    ],
)
def test_end_delivers_what_is_complete(tail: bytes, events: list[ServerSentEvent]) -> None:
    for head in (b"", b"data: 1\n\n"):
        body = head + tail
        ways: list[Iterable[int]] = [(), range(1, len(body))] if len(body) < 1000 else [()]
        for cuts in ways:
            decoder = SSEDecoder()
            assert fed(body, cuts, decoder) == ([ServerSentEvent(data="1")] if head else [])
            assert decoder.end() == events
            assert decoder.end() == []


def test_end_hands_on_a_stray_text_and_what_stands_before_it() -> None:
    decoder = SSEDecoder()
    assert decoder.payloads(b"data: 1\n{") == []
    assert decoder.last_payloads() == [ServerSentEvent(data="1"), Stray(b"{")]


# ------------------------------------------------------------------------------------------------------- bounds

BOUND = 40


def bounded(data: bytes, cuts: Iterable[int]) -> tuple[list[ServerSentEvent], bool]:
    """Return the events of a body under a bound, and whether the bound was met."""
    decoder = SSEDecoder(BOUND)
    edges = [0, *cuts, len(data)]
    events: list[ServerSentEvent] = []
    try:
        for start, end in pairwise(edges):
            events += decoder.feed(data[start:end])
        events += decoder.end()
    except EventTooLargeError as error:
        met = error
    else:
        return events, False
    assert met.limit == BOUND
    assert str(BOUND) in str(met)
    for more in (lambda: decoder.feed(b"data: more\n\n"), decoder.end):
        with pytest.raises(EventTooLargeError):
            more()
    return events, True


@pytest.mark.parametrize("around", [b"", b"data: 1\n\n"])
@pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n", b"\r\r", b"\n"])
@pytest.mark.parametrize("more", [0, 1, 2])
def test_bound_is_exact(around: bytes, end: bytes, more: int) -> None:
    text = "1" * (BOUND - len(b"data: ") + more)
    data = around + b"data: " + text.encode() + end
    before = [ServerSentEvent(data="1")] if around else []
    ways: list[Iterable[int]] = [(), range(1, len(data)), *([cut] for cut in range(len(data)))]
    for cuts in ways:
        expected = (before, True) if more else ([*before, ServerSentEvent(data=text)], False)
        assert bounded(data, cuts) == expected


@pytest.mark.parametrize(
    ("data", "over"),
    [
        (b": a comment\n" * 50 + b"data: 1\n\n", False),
        (b"data: " + b"1" * 30 + b"\n: " + b"c" * 38 + b"\n\n", False),
        (b": " + b"c" * 38 + b"\n: " + b"c" * 38 + b"\ndata: " + b"1" * 34 + b"\n\n", False),
        (b"data: 1\n\n" * 50, False),
        (b"\n" * 200 + b"data: 1\n\n", False),
        (b": " + b"c" * 39 + b"\n\n", True),
        (b"x" * 41, True),
        (b"data: 1\n" * 6, True),
        (b"data: " + b"1" * 34 + b"\ndata:\n\n", True),
        (b"id: 1\n" * 7 + b"data: 1\n\n", True),
    ],
)
def test_bound_counts_the_same_in_any_pieces(data: bytes, over: bool) -> None:
    ways: list[Iterable[int]] = [(), range(1, len(data)), *([cut] for cut in range(len(data)))]
    for cuts in ways:
        events, met = bounded(data, cuts)
        assert met is over
        assert events == ([] if over else reference(data))


def test_events_before_the_bound_come_first_as_payloads_too() -> None:
    decoder = SSEDecoder(20)
    assert decoder.payloads(b"data: 1\n\ndata: 2\n\ndata: " + b"3" * 30) == [b"1", b"2"]
    with pytest.raises(EventTooLargeError):
        decoder.payloads(b"")


def test_no_bound() -> None:
    data = b"data: " + b"1" * 200_000 + b"\n\n"
    assert len(SSEDecoder(None).feed(data)) == 1
    assert len(fed(data, range(0, len(data), 1000), SSEDecoder(None))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("bound", [1000, None, 64 * 1024 * 1024])
@pytest.mark.parametrize(
    ("line", "chunks"), [(b": PING\n", 100), (b"\n", 100), (b"\r\n", 100), (b": PING\n\n", 10), (b"retry: 1\n\n", 10)]
)
def test_keep_alives_take_bounded_memory(line: bytes, chunks: int, bound: int | None) -> None:
    decoder = SSEDecoder(bound)
    chunk = line * 10_000
    decoder.feed(chunk)
    tracemalloc.start()
    try:
        for _ in range(chunks):
            assert decoder.feed(chunk) == []
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 400_000
    assert decoder.feed(b"\ndata: x\n\n") == [ServerSentEvent(data="x", retry=None)]


def test_comments_inside_an_unfinished_event_take_bounded_memory() -> None:
    decoder = SSEDecoder()
    decoder.feed(b"data: x\n")
    tracemalloc.start()
    try:
        for _ in range(60_000):
            decoder.feed(b": PING PING PING PING PING PING\n")
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 1_000_000
    assert decoder.feed(b"\n") == [ServerSentEvent(data="x")]


def test_a_line_that_never_ends_takes_no_more_than_its_bound() -> None:
    decoder = SSEDecoder(200_000)
    tracemalloc.start()
    try:
        for _ in range(200):
            decoder.feed(b"x" * 1000)
        with pytest.raises(EventTooLargeError):
            decoder.feed(b"x" * 1000)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2_000_000


def steps(data: bytes, bound: int) -> int:
    """Return how many calls, of Python and of C, it takes to feed a body byte by byte."""
    calls = 0

    def count(_frame: object, event: str, _arg: object) -> None:
        nonlocal calls
        calls += event in {"call", "c_call"}

    decoder = SSEDecoder(bound)
    sys.setprofile(count)
    try:
        for n in range(len(data)):
            decoder.payloads(data[n : n + 1])
    finally:
        sys.setprofile(None)
    return calls


@pytest.mark.slow
@pytest.mark.parametrize(
    "shape",
    [
        lambda size: b"data: " + b"x" * size + b"\n\n",
        lambda size: b"data: xxxxxxx\n" * (size // 14) + b"\n",
        lambda size: b": comment\n" * (size // 10) + b"\n",
        lambda size: b"data: xxxxxxx\n\n" * (size // 15),
        lambda size: b"data: " + b"x" * (size // 2) + b"\n: " + b"c" * (size // 2) + b"\n\n",
    ],
    ids=["one line", "many lines", "comments", "events", "a comment beside"],
)
@pytest.mark.parametrize("bound", [1 << 20, 160_000])
def test_work_is_linear_byte_by_byte(shape: Callable[[int], bytes], bound: int) -> None:
    one, two = steps(shape(70_000), bound), steps(shape(140_000), bound)
    assert two < 2.3 * one


def test_joining_is_linear_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    joined = 0
    tidy = SSEDecoder._tidy

    def counted(self: SSEDecoder) -> None:
        nonlocal joined
        joined += self._size
        tidy(self)

    monkeypatch.setattr(SSEDecoder, "_tidy", counted)
    size = 600_000
    decoder = SSEDecoder(size + 10)
    for _ in range(size // 10):
        decoder.feed(b"data: 123\n")
    assert 0 < joined < 4 * size


@pytest.mark.parametrize("comment", [b"", b": still here\n"])
@pytest.mark.parametrize("lead", [b"data: ", b"event: delta\ndata: "])
@pytest.mark.parametrize("step", [8192, 700_000, 4_000_000])
def test_a_large_event_in_any_chunks_is_its_data(lead: bytes, comment: bytes, step: int) -> None:
    data = b"".join(b"%07d," % n for n in range(400_000))
    body = b"data: 1\n\n" + comment + lead + data + b"\n\n" + b"data: 2\n\n"
    decoder = SSEDecoder()
    found = [payload for at in range(0, len(body), step) for payload in decoder.payloads(body[at : at + step])]
    texts = [payload.data.encode() if isinstance(payload, ServerSentEvent) else bytes(payload) for payload in found]
    assert texts == [b"1", data, b"2"]


def test_a_large_event_is_not_copied_over_and_over() -> None:
    chunk, count = b"x" * 8192, 4_000
    decoder = SSEDecoder()
    tracemalloc.start()
    try:
        for part in (b"event: delta\ndata: ", *[chunk] * count):
            assert decoder.payloads(part) == []
        assert len(decoder.payloads(b"\n\n")) == 1
        assert tracemalloc.get_traced_memory()[1] < 1.3 * count * len(chunk)
    finally:
        tracemalloc.stop()
