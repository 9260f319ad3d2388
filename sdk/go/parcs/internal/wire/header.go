// Package wire is the protocol as values: bytes in, decisions out. No socket is touched here, so every state and every
// cut of a stream can be tested without one. The text is docs/protocol.md, its vectors are protocol/vectors.json.
package wire

import (
	"encoding/binary"
	"fmt"
	"strings"
)

// HeaderSize is the length of a frame's header: one byte of tag, seven of length.
const HeaderSize = 8

// Tag says what the body of a frame is.
type Tag byte

// The tags there are.
const (
	JSON Tag = iota
	MessagePack
	Raw
	Pickle
	Error
	KeepAlive
	Control
)

var names = [...]string{"json", "msgpack", "raw", "pickle", "error", "keepalive", "control"}

func (t Tag) String() string {
	if int(t) < len(names) {
		return names[t]
	}
	return fmt.Sprintf("tag %d", byte(t))
}

// Tags is a set of tags that a stream may carry.
type Tags uint8

// The sets there are. A pickle is Python's own: this side cannot read it.
const (
	TagsV1      Tags = 1 << JSON
	TagsV2      Tags = 1<<JSON | 1<<MessagePack | 1<<Raw | 1<<Error | 1<<KeepAlive | 1<<Control
	tagsGreeted Tags = 1 << Control
)

// Has says whether the set has a tag.
func (s Tags) Has(t Tag) bool { return t < 8 && s&(1<<t) != 0 }

func (s Tags) String() string {
	var found []string
	for t := range names {
		if s.Has(Tag(t)) {
			found = append(found, fmt.Sprintf("%d (%s)", t, names[t]))
		}
	}
	return strings.Join(found, ", ")
}

// PutHeader writes the header of a body of size bytes into b.
func PutHeader(b []byte, t Tag, size int) {
	binary.BigEndian.PutUint64(b, uint64(t)<<56|uint64(size))
}

// Frame is a header and its body in one piece.
func Frame(t Tag, body []byte) []byte {
	b := make([]byte, HeaderSize+len(body))
	PutHeader(b, t, len(body))
	copy(b[HeaderSize:], body)
	return b
}

// ParseHeader reads the header at the beginning of b, and refuses it before anything is allocated for its body.
func ParseHeader(b []byte, allowed Tags, limit int64) (Tag, int, error) {
	word := binary.BigEndian.Uint64(b)
	t, size := Tag(word>>56), word&(1<<56-1)
	if !allowed.Has(t) {
		return t, 0, &UnknownTagError{Tag: byte(t), Known: allowed.String()}
	}
	if size > uint64(limit) {
		return t, 0, &FrameTooLargeError{Size: int64(size), Limit: limit}
	}
	return t, int(size), nil
}

// UnknownTagError is a frame of no kind that this side can read. The channel is finished.
type UnknownTagError struct {
	Tag   byte
	Known string
}

func (e *UnknownTagError) Error() string {
	if Tag(e.Tag) == Pickle {
		return "the peer sent a pickle, which only Python reads: have it send json, msgpack or raw"
	}
	return fmt.Sprintf("a frame with the unknown tag %d; this side knows %s", e.Tag, e.Known)
}

// FrameTooLargeError is a frame over the limit: announced by the peer, which finishes the channel, or about to be sent,
// which does not.
type FrameTooLargeError struct {
	Size, Limit int64
	Sending     bool
}

func (e *FrameTooLargeError) Error() string {
	what := "the peer announced"
	if e.Sending {
		what = "this message has"
	}
	return fmt.Sprintf("%s %d bytes; the limit is %d (PARCS_FRAME_LIMIT)", what, e.Size, e.Limit)
}

// TruncatedFrameError is the end of the stream inside a frame. The channel is finished.
type TruncatedFrameError struct{ Missing int }

func (e *TruncatedFrameError) Error() string {
	return fmt.Sprintf("the peer ended inside a frame; at least %d bytes are missing", e.Missing)
}

// DecodeError is a body that is not what its tag says. Only this frame is lost.
type DecodeError struct {
	Codec string
	Err   error
}

func (e *DecodeError) Error() string {
	return fmt.Sprintf("a %s frame cannot be decoded: %v", e.Codec, e.Err)
}

// Unwrap gives the decoder's own error.
func (e *DecodeError) Unwrap() error { return e.Err }
