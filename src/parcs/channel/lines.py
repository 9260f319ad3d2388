"""Lines: connections that a program outside a cluster keeps open to the relay, one for each channel to come.

The points of such a program cannot call it. They call the relay, which joins each call to a line; from then on
point and program greet each other through it, with their own token, as if there were nothing in between.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from parcs import errors
from parcs.channel import waiting
from parcs.channel.dialer import greet
from parcs.model.address import Address
from parcs.wire.handshake import DialerV2, new_nonce

if TYPE_CHECKING:
    from parcs.channel import tls
    from parcs.channel.endpoint import Endpoint

_AT_ONCE: Final = 8


class Lines:
    """The lines of one program.

    Args:
        address, fingerprint: the relay.
    """

    def __init__(self, endpoint: Endpoint, address: Address, fingerprint: str) -> None:
        self._endpoint, self._address, self._fingerprint = endpoint, address, fingerprint

    def have(self, count: int) -> None:
        """See that ``count`` are open, for as many points that are about to call.

        Raises:
            ChannelBrokenError, HandshakeError: the relay is not there, or not what it should be.
        """
        missing = range(count - self._endpoint.listener.idle_lines)
        if missing:
            with ThreadPoolExecutor(_AT_ONCE, thread_name_prefix=f"{waiting.OWN_THREAD}lines") as pool:
                for line in list(pool.map(lambda _: self._dial(), missing)):
                    self._endpoint.listener.adopt(line)

    def _dial(self) -> tls.TlsSocket:
        from parcs.channel import tls

        settings, endpoint = self._endpoint.settings, self._endpoint
        line = tls.dial(self._address, self._fingerprint, tls.LINE, settings.connect_timeout_s)
        hello = endpoint.hello("line", "")
        machine = DialerV2(endpoint.token, hello, new_nonce(endpoint.space))
        greet(line, machine, settings, str(self._address))  # type: ignore[arg-type]  # as much socket as it needs
        if machine.leftover:
            raise errors.HandshakeError(f"{self._address} said more than a relay says")
        return line
