"""Every error of PARCS, in one tree. Catch at the level you care about.

    ParcsError
    ├── SettingsError               a setting (environment variable, option) makes no sense
    ├── EncodeError                 this value cannot be sent; the channel stays usable
    ├── ProtocolError               the peer's bytes are wrong; the channel is finished
    │   ├── FrameTooLargeError      a frame is over the limit, announced or about to be sent
    │   ├── UnknownTagError         a frame of no known kind
    │   ├── TruncatedFrameError     the peer ended inside a frame
    │   ├── DecodeError             a frame's body is not what its tag says (only this frame is lost)
    │   └── HandshakeError          the other side does not speak PARCS, or said nothing
    │       ├── AuthenticationError a token was not proved
    │       └── VersionMismatchError the two sides speak different versions
    ├── ChannelError                what a channel can say when it carries no message
    │   ├── ChannelClosedError      you closed it
    │   ├── ChannelMovedError       you handed it on to another point
    │   ├── ChannelTimeoutError     nothing arrived within the time you gave (a TimeoutError too)
    │   ├── EndOfChannelError       the peer finished and closed its end in good order
    │   └── ChannelBrokenError      the connection is gone without a goodbye
    │       └── PeerSilentError     the peer gave no sign of life for too long
    ├── DeadlockError               points wait for each other in a cycle
    ├── PointError                  about one point; .point is its name
    │   ├── PointStartError         it could not be started
    │   ├── PointDiedError          it ended before it finished its work
    │   │   └── NodeLostError       its machine is down or cut off; .node is its name
    │   └── RemoteError             its code raised an exception
    ├── EngineError                 the engine refused a request, or its protocol was broken
    │   └── EngineUnavailableError  there is no engine at that address
    ├── DockerError                 a Docker Engine refused; .status is HTTP's
    │   └── DockerUnavailableError  no Docker Engine answers there
    ├── SwarmError                  this Swarm, or this place in it, cannot do what was asked
    │   └── NoRoomError             no node can take what a point needs
    ├── ModuleError
    │   ├── ImageMissingError       a registry has no such image, or none for these machines
    │   ├── ImageBuildError         a module's image could not be built
    │   ├── ModuleBuildError        a module's program could not be compiled
    │   ├── UnknownModuleError      no module of that name on the search path
    │   ├── ManifestError           a parcs.toml is wrong
    │   └── ParameterError          a parameter is unknown, missing or of the wrong type
    ├── HubError                    a hub refused, or what it was asked for did not come about
    │   ├── HubUnavailableError     no hub answers there
    │   ├── InvalidRequestError     the request makes no sense; .field says which part
    │   ├── NotFoundError           there is no such thing
    │   ├── NotLoggedInError        no token, or one that is unknown, expired or revoked
    │   ├── NotAllowedError         this role may not do that
    │   ├── ConflictError           it is not in a state for that
    │   ├── TooMuchError            too large, or too many
    │   ├── DatabaseUnavailableError the hub's database does not answer
    │   └── TaskFailedError         a task that was waited for did not succeed; .task has it
    ├── ArchiveError                an archive is damaged, too large, or would leave its folder
    ├── LabError                    a lab (a Swarm on this machine) cannot be made or used
    └── PoolError
        └── WorkerLostError         a task's workers died more often than it may be retried

`DeadlockError` and `PointError` are about the control space; `ProtocolError` means that one of the
two programs is at fault; `ChannelError` is what an honest program meets in the course of its life.
"""

from __future__ import annotations

from typing import Any

__all__ = [
    "ArchiveError",
    "AuthenticationError",
    "ChannelBrokenError",
    "ChannelClosedError",
    "ChannelError",
    "ChannelMovedError",
    "ChannelTimeoutError",
    "ConflictError",
    "DatabaseUnavailableError",
    "DeadlockError",
    "DecodeError",
    "DockerError",
    "DockerUnavailableError",
    "EncodeError",
    "EndOfChannelError",
    "EngineError",
    "EngineUnavailableError",
    "FrameTooLargeError",
    "HandshakeError",
    "HubError",
    "HubUnavailableError",
    "ImageBuildError",
    "ImageMissingError",
    "InvalidRequestError",
    "LabError",
    "ManifestError",
    "ModuleBuildError",
    "ModuleError",
    "NoRoomError",
    "NodeLostError",
    "NotAllowedError",
    "NotFoundError",
    "NotLoggedInError",
    "ParameterError",
    "ParcsError",
    "PeerSilentError",
    "PointDiedError",
    "PointError",
    "PointStartError",
    "PoolError",
    "ProtocolError",
    "RemoteError",
    "SettingsError",
    "SwarmError",
    "TaskFailedError",
    "TooMuchError",
    "TruncatedFrameError",
    "UnknownModuleError",
    "UnknownTagError",
    "VersionMismatchError",
    "WorkerLostError",
]


class ParcsError(Exception):
    """The root of every error PARCS raises on purpose. All can be pickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[ParcsError], args: tuple[Any, ...], attributes: dict[str, Any]) -> ParcsError:
    """Unpickle an error without its ``__init__``, whose arguments are not its ``args``."""
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(attributes)
    return error


class SettingsError(ParcsError):
    """A setting has a value that makes no sense; the message names it and gives an example."""


class EncodeError(ParcsError):
    """A value cannot be encoded. Nothing was sent and the channel stays usable.

    Attributes:
        codec: the codec that refused it.
        path: where in the value, as in ``$.users[3]``.
        type_name: the type found there.
    """

    def __init__(self, codec: str, path: str, type_name: str, hint: str) -> None:
        super().__init__(f"cannot send this value as {codec}: {type_name} at {path}; {hint}")
        self.codec, self.path, self.type_name = codec, path, type_name


class ProtocolError(ParcsError):
    """The other side broke the protocol. But for `DecodeError`, the channel cannot be used any more."""


class FrameTooLargeError(ProtocolError):
    """A frame is larger than the limit. Raised by the sender before anything is sent (its channel
    stays usable), or by the receiver before anything is allocated.

    Attributes:
        size, limit: bytes.
    """

    def __init__(self, size: int, limit: int, *, sending: bool) -> None:
        what = "the message is" if sending else "the peer announced a frame of"
        super().__init__(
            f"{what} {size} bytes and the limit is {limit}; "
            "send it in parts, or raise PARCS_FRAME_LIMIT on both sides (for example PARCS_FRAME_LIMIT=4GiB)"
        )
        self.size, self.limit = size, limit


class UnknownTagError(ProtocolError):
    """A frame's tag is not one this channel may carry."""

    def __init__(self, tag: int, allowed: str) -> None:
        super().__init__(f"frame with tag {tag}; this channel carries {allowed}")
        self.tag = tag


class TruncatedFrameError(ProtocolError):
    """The peer closed the connection in the middle of a frame."""

    def __init__(self, got: int, expected: int) -> None:
        super().__init__(f"the peer closed the connection inside a frame: {got} of {expected} bytes came")
        self.got, self.expected = got, expected


class DecodeError(ProtocolError):
    """A frame arrived whole, and its body is not what its tag says. The channel stays usable."""

    def __init__(self, codec: str, reason: str) -> None:
        super().__init__(f"a {codec} frame cannot be decoded: {reason}")
        self.codec = codec


class HandshakeError(ProtocolError):
    """The other side did not greet as PARCS does."""


class AuthenticationError(HandshakeError):
    """A token was not proved: the two sides do not belong to the same job."""


class VersionMismatchError(HandshakeError):
    """The two sides speak different versions of the protocol; the message says which."""


class ChannelError(ParcsError):
    """A channel carries no message for a reason that is nobody's mistake in the protocol."""


class ChannelClosedError(ChannelError):
    """This end was closed by this program."""


class ChannelMovedError(ChannelError):
    """This end was handed on to another point, and belongs to it now."""


class ChannelTimeoutError(ChannelError, TimeoutError):
    """No message arrived in time. The channel stays usable."""


class EndOfChannelError(ChannelError):
    """The peer closed its end in good order, and everything it sent has been received."""


class ChannelBrokenError(ChannelError):
    """The connection is gone: reset, or lost with its machine."""


class PeerSilentError(ChannelBrokenError):
    """The peer gave no sign of life, not even a keepalive, for longer than allowed."""

    def __init__(self, peer: str, silence_s: float) -> None:
        super().__init__(
            f"no sign of life from {peer} for {silence_s:.0f} s: "
            "its machine is gone, or its process is stopped or swapped out"
        )
        self.peer, self.silence_s = peer, silence_s


class DeadlockError(ParcsError):
    """Points wait for each other, and no message is under way that could wake one.

    Attributes:
        cycle: the points' names, each waiting for the next and the last for the first.
    """

    def __init__(self, cycle: list[str]) -> None:
        chain = " -> ".join([*cycle, cycle[0]]) if cycle else "unknown"
        super().__init__(
            f"these points wait for each other and nothing is on its way: {chain} "
            "(each receives from the next); let one of them send first"
        )
        self.cycle = cycle


class PointError(ParcsError):
    """Something about one point. Attribute ``point`` is its name."""

    def __init__(self, point: str, message: str) -> None:
        super().__init__(f"{point}: {message}")
        self.point = point


class PointStartError(PointError):
    """A point could not be started; the message says why and what to do."""


class PointDiedError(PointError):
    """A point ended before its creator was done with it.

    Attributes:
        exit_code: its exit status, None if a signal ended it.
        signal: the signal's number, None if it exited.
        last_lines: the last lines it printed.
    """

    def __init__(
        self, point: str, message: str, exit_code: int | None, signal: int | None, last_lines: list[str]
    ) -> None:
        super().__init__(point, message)
        self.exit_code, self.signal, self.last_lines = exit_code, signal, last_lines


class NodeLostError(PointDiedError):
    """The machine a point ran on is down, or cannot be reached any more. Start the work again elsewhere; a
    `Pool` does so by itself.

    Attributes:
        node: its name.
    """

    def __init__(self, point: str, node: str, reason: str) -> None:
        message = (
            f"node {node} is lost ({reason}); start this point's work again: it will run on another node"
        )
        super().__init__(point, message, None, None, [])
        self.node = node


class RemoteError(PointError):
    """The code of a point raised an exception.

    Attributes:
        type_name, message: the remote exception's class and text.
        remote_traceback: its traceback as text, from the point's own machine.
    """

    def __init__(self, point: str, type_name: str, message: str, remote_traceback: str) -> None:
        super().__init__(point, f"{type_name}: {message}")
        self.type_name, self.message, self.remote_traceback = type_name, message, remote_traceback

    def __str__(self) -> str:
        if not self.remote_traceback:  # errors of some languages have none
            return super().__str__()
        return f"{super().__str__()}\n\nTraceback in {self.point}:\n{self.remote_traceback}".rstrip()


class EngineError(ParcsError):
    """The engine refused a request; the message is its reason."""


class EngineUnavailableError(EngineError):
    """No engine answers at the given address."""


class DockerError(ParcsError):
    """A Docker Engine refused a request.

    Attributes:
        status: HTTP's status; 0 if there was none.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class DockerUnavailableError(DockerError):
    """No Docker Engine answers at the address, or it may not be used."""


class SwarmError(ParcsError):
    """A Swarm, or the node that was asked, cannot do it; the message says what would help."""


class NoRoomError(SwarmError):
    """No node can take a point with these needs; the message says what is free where."""


class ModuleError(ParcsError):
    """Something about a module or its parcs.toml."""


class UnknownModuleError(ModuleError):
    """No module of this name is on the search path; the message has the nearest names."""


class ImageMissingError(ModuleError):
    """A registry has no such image, or this user may not have it."""

    def __init__(self, reference: str, reason: str = "") -> None:
        super().__init__(
            f"no image {reference}{f' ({reason})' if reason else ''}; build and push the module with: "
            "parcs module push DIR, and see what there is with: parcs module ls"
        )
        self.reference = reference


class ImageBuildError(ModuleError):
    """An image could not be built; the message ends with what the build printed last."""

    def __init__(self, reference: str, lines: list[str]) -> None:
        super().__init__(
            f"the image {reference} could not be built:\n" + "\n".join(f"    {x}" for x in lines)
        )
        self.reference = reference


class ModuleBuildError(ModuleError):
    """A module in a language that is compiled could not be; the message has the compiler's words."""


class ManifestError(ModuleError):
    """A parcs.toml cannot be used; the message names the file, the key and what is allowed."""


class ParameterError(ModuleError):
    """A parameter given with -e is unknown, missing or of the wrong type."""


class HubError(ParcsError):
    """A hub refused, or what it was asked for did not come about."""


class HubUnavailableError(HubError):
    """No hub answers at that address, or the way to it is broken."""


class InvalidRequestError(HubError):
    """A request makes no sense.

    Attributes:
        field: the part that is wrong, as ``limits.memory``; empty if it is the whole.
    """

    def __init__(self, message: str, field: str = "") -> None:
        super().__init__(f"{field}: {message}" if field else message)
        self.field = field


class NotFoundError(HubError):
    """There is no such thing, or it is somebody else's."""


class NotLoggedInError(HubError):
    """A request came with no token, or with one that is unknown, expired or revoked."""


class NotAllowedError(HubError):
    """The role of this user does not allow that."""


class ConflictError(HubError):
    """A thing is not in a state in which that can be done."""


class TooMuchError(HubError):
    """A request is too large, or they are too many."""


class DatabaseUnavailableError(HubError):
    """The hub's database does not answer. Nothing was changed, or it is not known whether; ask again."""


class TaskFailedError(HubError):
    """A task that was waited for did not succeed.

    Attributes:
        task: it, as the hub has it.
    """

    def __init__(self, message: str, task: Any) -> None:
        super().__init__(message)
        self.task = task


class ArchiveError(ParcsError):
    """An archive is damaged, unpacks to too much, or has an entry that would leave its folder."""


class LabError(ParcsError):
    """A lab cannot be brought up, or is not there; the message has the command that helps."""


class PoolError(ParcsError):
    """Something about a pool of workers."""


class WorkerLostError(PoolError):
    """A task was under way on workers that died, more often than it may be retried."""
