"""Keyed pseudonyms: the same name always gets the same one, and nobody without the key can tell whose it is."""

from __future__ import annotations

import base64
import hashlib
import hmac


class Pseudonyms:
    """HMAC-SHA256 under the installation's own key, with a separate domain for each kind of name.

    Parameters
    ----------
    key
        At least 16 random bytes that never leave the installation.
    """

    def __init__(self, key: bytes) -> None:
        if len(key) < 16:
            raise ValueError(f"The pseudonym key has {len(key)} bytes; give at least 16 random ones.")
        self._key = key

    def digest(self, domain: str, name: str) -> bytes:
        return hmac.new(self._key, f"{domain}\0{name}".encode(), hashlib.sha256).digest()

    def uid(self, uid: str) -> str:
        """A UID under 2.25 (PS3.5 B.2: the decimal form of a 128-bit number)."""
        return f"2.25.{int.from_bytes(self.digest('uid', uid)[:16], 'big')}"

    def identity(self, name: str) -> str:
        """What a patient is recognised by, 64 hexadecimal digits."""
        return self.digest("patient", name).hex()

    def examination(self, name: str) -> str:
        """What an examination is recognised by, 64 hexadecimal digits."""
        return self.digest("examination", name).hex()


def short(prefix: str, hexdigest: str) -> str:
    """A short name for a digest, as in "P-7F3K2M4Q": 40 bits in base 32 (RFC 4648, no 0, 1, 8, 9 to misread)."""
    return f"{prefix}-{base64.b32encode(bytes.fromhex(hexdigest)[:5]).decode()}"
