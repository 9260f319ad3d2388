package parcs

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/codec"
	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

// What a channel can say when it carries no message. Each is found with errors.Is; ErrEndOfChannel is an io.EOF too.
var (
	// ErrClosed says that this program has closed the channel.
	ErrClosed = errors.New("the channel was closed by this program")
	// ErrEndOfChannel says that the peer has finished, and closed its end in good order.
	ErrEndOfChannel = fmt.Errorf("the peer has finished and closed the channel: %w", io.EOF)
)

// The errors of bytes and greetings, as the wire knows them.
type (
	// EncodeError is a value that a codec cannot carry; the channel stays usable.
	EncodeError = codec.EncodeError
	// DecodeError is a body that is not what it says, or does not fit the variable; only this message is lost.
	DecodeError = wire.DecodeError
	// FrameTooLargeError is a message over the limit (PARCS_FRAME_LIMIT).
	FrameTooLargeError = wire.FrameTooLargeError
	// UnknownTagError is a frame that this side cannot read; the channel is finished.
	UnknownTagError = wire.UnknownTagError
	// TruncatedFrameError is a peer that ended inside a message; the channel is finished.
	TruncatedFrameError = wire.TruncatedFrameError
	// HandshakeError is a peer that does not speak PARCS.
	HandshakeError = wire.HandshakeError
	// AuthenticationError is a token that was not proved.
	AuthenticationError = wire.AuthenticationError
	// VersionMismatchError is a peer that speaks another protocol.
	VersionMismatchError = wire.VersionMismatchError
)

// BrokenError is a connection that is gone without a goodbye.
type BrokenError struct {
	Peer   string
	Reason string
	Err    error
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("the connection to %s %s", e.Peer, e.Reason)
}

// Unwrap gives the system's error, if there is one.
func (e *BrokenError) Unwrap() error { return e.Err }

// PeerSilentError is a peer that has given no sign of life for too long.
type PeerSilentError struct {
	Peer    string
	Silence time.Duration
}

func (e *PeerSilentError) Error() string {
	return fmt.Sprintf("%s has given no sign of life for %.1f s: it, or its machine, is dead or cut off",
		e.Peer, e.Silence.Seconds())
}

// RemoteError is an error of the code on the other side, with the traceback of its language.
type RemoteError struct {
	Point     string `json:"point"`
	Type      string `json:"type"`
	Message   string `json:"message"`
	Traceback string `json:"traceback"`
}

func (e *RemoteError) Error() string {
	text := fmt.Sprintf("%s raised %s: %s", e.Point, e.Type, e.Message)
	if e.Traceback != "" {
		text += "\n" + strings.TrimRight(e.Traceback, "\n")
	}
	return text
}

// PointStartError is a point that could not be started.
type PointStartError struct {
	Point  string
	Reason string
}

func (e *PointStartError) Error() string { return e.Point + ": " + e.Reason }

// Ending is how a point ended, as its engine saw it.
type Ending struct {
	ExitCode  *int     `json:"exit_code"`
	Signal    *int     `json:"signal"`
	Node      string   `json:"node"`
	LastLines []string `json:"last_lines"`
	Reason    string   `json:"reason"`
	Cause     string   `json:"cause"`
}

func (e Ending) clean() bool { return e.ExitCode != nil && *e.ExitCode == 0 && e.Reason == "" }

func (e Ending) String() string {
	text := e.Reason
	switch {
	case text != "":
	case e.Signal != nil:
		text = fmt.Sprintf("was killed by signal %d", *e.Signal)
	case e.ExitCode != nil:
		text = fmt.Sprintf("ended with status %d", *e.ExitCode)
	default:
		text = "ended"
	}
	if e.Node != "" {
		text += " on " + e.Node
	}
	if len(e.LastLines) > 0 {
		text += "; its last lines:\n    " + strings.Join(e.LastLines, "\n    ")
	}
	return text
}

// PointDiedError is a point that ended before it finished its work.
type PointDiedError struct {
	Point  string
	Ending Ending
}

func (e *PointDiedError) Error() string { return fmt.Sprintf("%s %s", e.Point, e.Ending) }

// NodeLostError is a point whose machine is down or cut off: start the work again elsewhere.
type NodeLostError struct {
	Point, Node, Reason string
}

func (e *NodeLostError) Error() string {
	return fmt.Sprintf("%s is lost with its node %s: %s", e.Point, e.Node, e.Reason)
}

// EngineError is a request that the engine refused. Type is the kind of error in the words of PARCS, such as
// "UnknownModuleError", "ImageMissingError" or "NoRoomError".
type EngineError struct {
	Type, Message string
}

func (e *EngineError) Error() string { return e.Message }

// EngineUnavailableError is an engine server that is not there, or gone.
type EngineUnavailableError struct {
	Address string
	Err     error
}

func (e *EngineUnavailableError) Error() string {
	return fmt.Sprintf("no engine answers at %s: %v", e.Address, e.Err)
}

// Unwrap says why.
func (e *EngineUnavailableError) Unwrap() error { return e.Err }
