"""The token of one read at one station, which server and agent can both check without asking each other.

``<random>.<mac>``, where mac is the HMAC-SHA256 of recording id and random part under a key that only the server and
the paired station have: the SHA-256 of the station's credential (the server keeps no more of it than that). So an agent
starts nothing without a token its own server made for this very recording and this very station, even when the server
is away, and whoever has opened its socket cannot invent one. What the token is good for, and until when, is the
server's to say: `capture.services.recordings`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets


def fingerprint(credential: str) -> str:
    """What the server keeps of a station's credential: its SHA-256 in hex. The credential is random, 256 bits."""
    return hashlib.sha256(credential.encode()).hexdigest()


def mint(credential_sha256: str, recording: str) -> str:
    """A new token for `recording` (canonical text of its UUID) at the station with this fingerprint."""
    random = secrets.token_urlsafe(32)
    return f"{random}.{_mac(credential_sha256, recording, random)}"


def was_minted(token: str, credential_sha256: str, recording: str) -> bool:
    """Whether `mint` made `token` for this recording and this station."""
    random, dot, mac = token.partition(".")
    return bool(random and dot) and hmac.compare_digest(
        mac.encode(), _mac(credential_sha256, recording, random).encode()
    )


def _mac(credential_sha256: str, recording: str, random: str) -> str:
    message = f"gazeroom recording token\0{recording}\0{random}".encode()
    digest = hmac.digest(bytes.fromhex(credential_sha256), message, "sha256")
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
