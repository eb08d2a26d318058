"""The link to the next page of a list.

Standard: RFC 8288 (Link), relation `next`.
"""

from urllib.parse import urlencode

from fastapi import Request, Response


def link_next(request: Request, response: Response, following: object, cursor: str = "after") -> None:
    """Link to the page that begins at `following`; to none if it is `None`. cursor: the parameter that takes it.

    Unknown parameters of the request were refused and the values of the others checked, so they may be repeated.
    """
    if following is not None:
        query = {**request.query_params, cursor: str(following)}
        response.headers["Link"] = f'<{request.url.path}?{urlencode(query)}>; rel="next"'
