"""The vendors' three shapes of an error."""

from __future__ import annotations

import pytest

from dgrid_async.emulator import failures


@pytest.mark.parametrize(
    ("status", "claude", "openai", "gemini"),
    [
        (400, "invalid_request_error", ("invalid_request_error", None), "INVALID_ARGUMENT"),
        (401, "authentication_error", ("invalid_request_error", "invalid_api_key"), "UNAUTHENTICATED"),
        (418, "invalid_request_error", ("invalid_request_error", None), "FAILED_PRECONDITION"),
        (429, "rate_limit_error", ("rate_limit_error", "rate_limit_exceeded"), "RESOURCE_EXHAUSTED"),
        (500, "api_error", ("server_error", "server_error"), "INTERNAL"),
        (502, "api_error", ("server_error", "server_error"), "INTERNAL"),
        (529, "overloaded_error", ("overloaded_error", "overloaded"), "UNAVAILABLE"),
    ],
)
def test_types(status: int, claude: str, openai: tuple[str, str | None], gemini: str) -> None:
    assert failures.claude(status, "m", "req_1") == {
        "type": "error",
        "error": {"type": claude, "message": "m"},
        "request_id": "req_1",
    }
    assert failures.openai(status, "m", "model") == {
        "error": {"message": "m", "type": openai[0], "param": "model", "code": openai[1]}
    }
    assert failures.gemini(status, "m") == {"error": {"code": status, "message": "m", "status": gemini}}


def test_words_for_every_status() -> None:
    assert failures.gemini(429, None)["error"]["message"] == "Too many requests"
    assert "418" in failures.words(418)
