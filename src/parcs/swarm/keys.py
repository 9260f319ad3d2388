"""Who may do what, without a list of tokens to keep: every token follows from a key. Pure.

job token       HMAC(cluster key, space id): good for that job's own points and nothing else. The cluster key
                is a Swarm secret that only the engine server can read.
operator token  HMAC(the Swarm's manager join token, a fixed text): whoever may administer the Swarm can work it
                out, and nobody else; it changes when the join token is rotated.
"""

from __future__ import annotations

import hmac


def job_token(cluster_key: bytes, space: bytes) -> bytes:
    """The token of the job with this control space."""
    return hmac.digest(cluster_key, b"parcs job " + space, "sha256").hex().encode()


def operator_token(manager_token: str) -> bytes:
    """The token of people who may administer the Swarm."""
    return hmac.digest(manager_token.encode(), b"parcs operator", "sha256").hex().encode()
