"""The answer on a connection that is closed because there are too many, written without an application."""

from http import HTTPStatus
from uuid import uuid4

from api.front.json_response import encode
from api.front.problems import MEDIA_TYPE, crowded_problem, document_of


def too_many() -> bytes:
    """Return the answer on a connection that no request came from yet: head and body."""
    problem = crowded_problem()
    body = encode(document_of(problem, str(uuid4())))
    headers = {"Content-Type": MEDIA_TYPE, "Content-Length": len(body), "Connection": "close", **problem.headers}
    lines = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
        *(f"{k}: {v}" for k, v in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode() + body
