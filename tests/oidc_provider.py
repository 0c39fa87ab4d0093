"""A small OpenID Connect provider: discovery, authorization code with PKCE, userinfo, signed ID tokens.

It checks what a real one checks (client, secret, redirect address, one use of a
code, PKCE), so that a client which gets any of it wrong does not get in. Whoever
comes to `/authorize` is the person in `claims`.
"""

import base64
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

KEY_ID = "test"


class OidcProvider(ThreadingHTTPServer):
    client_id = "petridish"
    client_secret = "a secret: with a colon"

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.claims: dict[str, Any] = {}
        self.codes: dict[str, dict[str, str]] = {}
        self.access_tokens: set[str] = set()

    def id_token(self) -> str:
        now = int(time.time())
        claims = {"iss": self.url, "aud": self.client_id, "iat": now, "exp": now + 60, **self.claims}
        return jwt.encode(claims, self.key, algorithm="RS256", headers={"kid": KEY_ID})


class _Handler(BaseHTTPRequestHandler):
    server: OidcProvider

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/.well-known/openid-configuration":
            self._send(200, self._discovery())
        elif parts.path == "/authorize":
            self._authorize(query)
        elif parts.path == "/userinfo":
            known = self.headers.get("Authorization", "").removeprefix("Bearer ") in self.server.access_tokens
            self._send(*((200, self.server.claims) if known else (401, {"error": "invalid_token"})))
        elif parts.path == "/jwks":
            key = jwt.algorithms.RSAAlgorithm.to_jwk(self.server.key.public_key(), as_dict=True)
            self._send(200, {"keys": [key | {"kid": KEY_ID, "alg": "RS256", "use": "sig"}]})
        else:
            self._send(404, {})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        form = {name: values[0] for name, values in parse_qs(body).items()}
        request = self.server.codes.pop(form.get("code", ""), None)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if (form.get("client_id"), form.get("client_secret")) != (
            self.server.client_id,
            self.server.client_secret,
        ):
            self._send(401, {"error": "invalid_client"})
        elif request is None or request["redirect_uri"] != form.get("redirect_uri"):
            self._send(400, {"error": "invalid_grant"})
        elif request["code_challenge"] != challenge.decode().rstrip("="):
            self._send(400, {"error": "invalid_grant", "error_description": "PKCE"})
        else:
            access_token = secrets.token_urlsafe()
            self.server.access_tokens.add(access_token)
            id_token = self.server.id_token()
            self._send(
                200,
                {
                    "access_token": access_token,
                    "token_type": "Bearer",
                    "expires_in": 60,
                    "id_token": id_token,
                },
            )

    def _discovery(self) -> dict[str, Any]:
        url = self.server.url
        return {
            "issuer": url,
            "authorization_endpoint": f"{url}/authorize",
            "token_endpoint": f"{url}/token",
            "userinfo_endpoint": f"{url}/userinfo",
            "jwks_uri": f"{url}/jwks",
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "id_token_signing_alg_values_supported": ["RS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
        }

    def _authorize(self, query: dict[str, str]) -> None:
        wanted = {
            "client_id": self.server.client_id,
            "response_type": "code",
            "code_challenge_method": "S256",
        }
        if (
            any(query.get(name) != value for name, value in wanted.items())
            or "openid" not in query["scope"].split()
        ):
            self._send(400, {"error": "invalid_request"})
            return
        code = secrets.token_urlsafe()
        self.server.codes[code] = query
        self.send_response(302)
        self.send_header(
            "Location", f"{query['redirect_uri']}?" + urlencode({"code": code, "state": query["state"]})
        )
        self.end_headers()

    def _send(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Nothing: the tests say what went wrong."""


@contextmanager
def oidc_provider() -> Iterator[OidcProvider]:
    with OidcProvider() as provider:
        thread = threading.Thread(target=provider.serve_forever, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            provider.shutdown()
            thread.join()
