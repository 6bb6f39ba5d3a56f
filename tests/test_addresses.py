"""Where requests go: redirects that are followed or refused, and addresses that arrive as they were given."""

from __future__ import annotations

import json

import pytest

from dgrid_async import (
    APIStatusError,
    Timeouts,
    UnexpectedResponseError,
)
from dgrid_async.addresses import redirected, url_of
from dgrid_async.config import Secret
from tests.loopback import (
    KEY,
    NO_WAIT,
    ONCE,
    Exchange,
    answering,
    ask,
    client_of,
    good,
    in_turn,
    keys,
    loopback,
    moved,
)

# --------------------------------------------------------------------------------------------------------------- redirects


@pytest.mark.parametrize("status", [307, 308])
async def test_a_redirect_to_the_same_host_is_followed(status: int) -> None:
    async def play(exchange: Exchange) -> None:
        if exchange.number == 1:
            await exchange.answer(status, b"gone there", location="/there/v1/chat/completions?x=1")
        else:
            await good(exchange)

    async with loopback(play) as server, client_of(server) as client:
        assert await ask(client) == "hello"
        first, second = server.requests
        assert second.line == "POST /there/v1/chat/completions?x=1 HTTP/1.1"
        assert second.body == first.body
        assert second.headers["authorization"] == f"Bearer {KEY}"
        assert keys(server)[0] == keys(server)[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_no_key_goes_to_another_host(status: int) -> None:
    async with loopback() as other:
        elsewhere = f"http://localhost:{other.port}/v1/chat/completions"
        async with loopback(answering(status, b"", location=elsewhere)) as server, client_of(server) as client:
            with pytest.raises(UnexpectedResponseError, match="redirects to http://localhost/v1") as caught:
                await ask(client)
            assert caught.value.status == status
            assert client.stats().in_use == 0
        assert other.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_post_never_becomes_a_get(status: int) -> None:
    async with loopback(answering(status, b"", location="/there")) as server, client_of(server) as client:
        with pytest.raises(UnexpectedResponseError):
            await ask(client)
        assert len(server.requests) == 1


async def test_a_loop_of_redirects_ends() -> None:
    async with loopback(answering(307, b"", location="/again")) as server, client_of(server) as client:
        with pytest.raises(UnexpectedResponseError, match="more than 5 redirects"):
            await ask(client)
        assert len(server.requests) == 6


@pytest.mark.parametrize(
    ("url", "location", "target"),
    [
        ("http://h/v1", "/x", "http://h/x"),
        ("http://h/v1/a", "b", "http://h/v1/b"),
        ("http://h/v1", "//h/x", "http://h/x"),
        ("http://h/v1", "http://H:80/x", "http://H:80/x"),
        ("http://h/v1", "https://h/x", "https://h/x"),
        ("http://h:80/v1", "https://h:443/x", "https://h:443/x"),
        ("http://h:8080/v1", "https://h:8080/x", "https://h:8080/x"),
        ("http://h:8080/v1", "https://h/x", None),
        ("http://h/v1", "https://h:8443/x", None),
        ("https://h/v1", "http://h/x", None),
        ("https://h/v1", "https://h:8443/x", None),
        ("https://h/v1", "https://h.evil.test/x", None),
        ("https://h/v1", "https://evil.test\\@h/x", None),
        ("https://h/v1", "https://h@evil.test/x", None),
        ("https://h/v1", "https://me@h/x", None),
        ("https://h/v1", "//evil.test/x", None),
        ("https://h/v1", "ftp://h/x", None),
        ("https://h/v1", "https://h:99999/x", None),
        ("https://h/v1", "https://[h/x", None),
        ("https://h/v1", None, None),
    ],
)
def test_where_a_redirect_may_lead(url: str, location: str | None, target: str | None) -> None:
    headers = {} if location is None else {"location": location}
    if target is not None:
        assert redirected(url, 307, headers) == target
        assert redirected(url, 308, headers) == target
    else:
        with pytest.raises(UnexpectedResponseError):
            redirected(url, 307, headers)
    with pytest.raises(UnexpectedResponseError):
        redirected(url, 302, headers)


def test_a_refused_redirect_does_not_show_a_key_in_itsurl_of() -> None:
    with pytest.raises(UnexpectedResponseError, match=r"http://elsewhere\.test/\*\*\*/x:") as caught:
        redirected("http://h/v1", 307, {"location": f"http://elsewhere.test/{KEY}/x"}, Secret(KEY))
    assert KEY not in f"{caught.value} {caught.value!r} {vars(caught.value)}"


@pytest.mark.parametrize("status", [101, 204, 300, 304])
async def test_a_status_that_is_no_answer_is_typed(status: int) -> None:
    timeouts = Timeouts(total=2)
    async with loopback(answering(status, b"")) as server, client_of(server, retries=ONCE, timeouts=timeouts) as client:
        with pytest.raises((UnexpectedResponseError, APIStatusError)):
            await ask(client)
        assert client.stats().in_use == 0


async def test_a_large_request_goes_out_whole_and_warns_of_nothing() -> None:
    text = "x" * 3_000_000
    messages = [{"role": "user", "content": text}]
    async with loopback(in_turn(moved, moved, answering(500), good)) as server, client_of(server, retries=NO_WAIT) as client:
        reply = await client.chat.completions.create(model="m", messages=messages)
        assert reply.text == "hello"
        assert [json.loads(exchange.body)["messages"] == messages for exchange in server.requests] == [True] * 2
        server.play = in_turn(good, good, answering(500), good)
        assert (await client.chat.completions.create(model="m", messages=messages)).text == "hello"
        assert [len(exchange.body) > len(text) for exchange in server.requests] == [True] * 4


# ---------------------------------------------------------------------------------------------------------------- addresses


@pytest.mark.parametrize(
    ("url", "sent"),
    [
        ("http://h/v1/models/a%3Ab:generateContent", "http://h/v1/models/a%3Ab:generateContent"),
        ("http://h/v1/models/a%2Fb%20c%25?alt=sse", "http://h/v1/models/a%2Fb%20c%25?alt=sse"),
        ("http://h/p?q=a%26b+c%3D&r=%2B", "http://h/p?q=a%26b+c%3D&r=%2B"),
        ("http://H.Example:8080/P", "http://h.example:8080/P"),
        ("http://[::1]:80/p", "http://[::1]:80/p"),
        ("http://h", "http://h/"),
        ("http://b\u00fccher.example:81/caf\u00e9%3A/p?q=\u00e9", "http://xn--bcher-kva.example:81/caf%C3%A9%3A/p?q=%C3%A9"),
        ("http://h/a b", "http://h/a%20b"),
    ],
)
def test_an_address_is_sent_as_it_stands(url: str, sent: str) -> None:
    address = url_of(url)
    assert f"{address.scheme}://{address.raw_authority}{address.raw_path_qs}" == sent


@pytest.mark.parametrize("base", ["", "/deep/caf\u00e9%3A"])
async def test_what_is_quoted_in_path_and_query_reaches_the_gateway_so(base: str) -> None:
    async with loopback(answering(400)) as server, client_of(server.url + base, retries=ONCE) as client:
        with pytest.raises(APIStatusError):
            await client.models.generate_content(
                model="models/a:b c", contents="hi", extra_query={"tag": "x&y=z", "colon": "a:b"}
            )
    prefix = base.replace("\u00e9", "%C3%A9")
    line = server.requests[0].line
    assert line.startswith(f"POST {prefix}/v1/models/")
    path, _, query = line.split()[1].partition("?")
    assert path.endswith("a%3Ab%20c:generateContent")
    assert query == "tag=x%26y%3Dz&colon=a%3Ab"
