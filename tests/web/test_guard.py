"""Whom the guard lets in, and what the policy lets the page do."""

from __future__ import annotations

import base64
import hashlib

import pytest

from dgrid_async.web.guard import Guard, content_security_policy, is_loopback

HOME = "127.0.0.1:8765"
ASK = "/api/answers/x"


@pytest.mark.parametrize("host", [HOME, "localhost:8765", "LOCALHOST", "[::1]:8765", "127.0.0.2", "127.0.0.1:9000"])
def test_the_machines_own_names_are_let_in(host: str) -> None:
    assert Guard("127.0.0.1").refusal("GET", ASK, {"Host": host}) is None


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "evil.example:8765",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "evil@127.0.0.1",
        "127.0.0.1:8765@evil.example",
        "127.0.0.1/",
        "127.0.0.1 ",
        "127.0.0.1:",
        "192.0.2.7:8765",
        "[::2]",
        "0.0.0.0",
        "2130706433",
    ],
)
def test_other_names_are_refused(host: str) -> None:
    assert "name" in (Guard("127.0.0.1").refusal("GET", "/", {"Host": host}) or "")


def test_a_request_without_host_is_refused() -> None:
    assert Guard("127.0.0.1").refusal("GET", "/", {}) is not None


def test_an_open_server_is_known_by_its_addresses_and_the_name_given() -> None:
    for host in ("192.0.2.7:8765", "[2001:db8::1]:8765", "box.example:8765", "Box.Example", "localhost"):
        assert Guard("box.example").refusal("GET", "/", {"Host": host}) is None
    assert Guard("box.example").refusal("GET", "/", {"Host": "evil.example"}) is not None
    assert Guard("0.0.0.0").refusal("GET", "/", {"Host": "evil.example"}) is not None


@pytest.mark.parametrize(
    "origin", ["http://evil.example", "null", "", "http://127.0.0.1:9999", "http://localhost:8765", "file://", f"ftp://{HOME}"]
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
def test_other_sites_are_refused(origin: str, method: str) -> None:
    assert "site" in (Guard("127.0.0.1").refusal(method, ASK, {"Host": HOME, "Origin": origin}) or "")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST", "PATCH", "OPTIONS"])
def test_what_changes_something_says_where_it_comes_from(method: str) -> None:
    guard = Guard("127.0.0.1")
    assert guard.refusal(method, ASK, {"Host": HOME}) is not None
    assert guard.refusal(method, ASK, {"Host": HOME, "Origin": f"http://{HOME}"}) is None


def test_another_site_may_link_to_the_page_and_no_more() -> None:
    guard = Guard("127.0.0.1")
    for site, own in (("same-origin", True), ("none", True), ("cross-site", False), ("same-site", False)):
        assert (guard.refusal("GET", ASK, {"Host": HOME, "Sec-Fetch-Site": site}) is None) is own
        assert guard.refusal("GET", "/", {"Host": HOME, "Sec-Fetch-Site": site}) is None


@pytest.mark.parametrize(
    ("host", "loopback"),
    [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("box", False)],
)
def test_loopback(host: str, loopback: bool) -> None:
    assert is_loopback(host) is loopback


def test_the_policy_knows_the_pages_own_script_and_style_alone() -> None:
    policy = content_security_policy("<style>a{}</style><script>\nf()\n</script><script src=x></script>")
    for body in ("a{}", "\nf()\n"):
        assert f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" in policy
    assert policy.count("sha256-") == 2
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "script-src 'none'" in content_security_policy("<p>")
