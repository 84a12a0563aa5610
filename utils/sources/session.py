"""Session: a connection pool of requests that gives no login to plain http.

requests looks into ~/.netrc at every hop, also where a redirect leads from https to http.
"""

from __future__ import annotations

import requests

from utils.sources.source import is_protected

__all__ = ["Session"]


class Session(requests.Session):
    """Sends what ~/.netrc has over https and to this machine only.

    A login that is written in an address goes to that host: its writer asked for it.
    """

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare the first request of a chain."""
        prepared = super().prepare_request(request)
        if not is_protected(prepared.url or ""):
            prepared.headers.pop("Authorization", None)
            prepared.prepare_auth(None)  # puts in what the address itself has
        return prepared

    def rebuild_auth(self, prepared_request: requests.PreparedRequest, response: requests.Response) -> None:
        """Prepare the login of a redirect's next hop."""
        url, before = prepared_request.url or "", response.request.url or ""
        if is_protected(url):
            super().rebuild_auth(prepared_request, response)  # type: ignore[no-untyped-call]  # requests has no type
        elif self.should_strip_auth(before, url):  # type: ignore[no-untyped-call]  # nor here
            prepared_request.headers.pop("Authorization", None)
