package wire

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
)

// Lengths and fixed bytes of the greetings.
const (
	NonceSize  = 32
	SpaceSize  = 8
	proofSize  = 32
	helloLimit = 16 * 1024
)

var (
	magic = []byte("PARCS\x002\n")
	syn   = []byte("SYN")
	ack   = []byte("ACK")
)

// HandshakeError is a peer that does not speak PARCS, or left. The connection is finished.
type HandshakeError struct{ Reason string }

func (e *HandshakeError) Error() string { return e.Reason }

// AuthenticationError is a token that was not proved.
type AuthenticationError struct{ Reason string }

func (e *AuthenticationError) Error() string { return e.Reason }

// VersionMismatchError is a peer that speaks another protocol.
type VersionMismatchError struct{ Reason string }

func (e *VersionMismatchError) Error() string { return e.Reason }

func handshakeError(format string, words ...any) error {
	return &HandshakeError{Reason: fmt.Sprintf(format, words...)}
}

// NewNonce is a dialler's nonce: the 8 bytes of its control space (16 hexadecimal digits), then random ones.
func NewNonce(space string) [NonceSize]byte {
	var nonce [NonceSize]byte
	_, _ = rand.Read(nonce[:]) // never fails (crypto/rand)
	if head, err := hex.DecodeString(space); err == nil && len(head) == SpaceSize {
		copy(nonce[:], head)
	}
	return nonce
}

func proof(token []byte, role string, dialer, acceptor []byte) []byte {
	h := hmac.New(sha256.New, token)
	h.Write([]byte(role))
	h.Write(dialer)
	h.Write(acceptor)
	return h.Sum(nil)
}

// Handshake is one side of a greeting, of either version: a machine over bytes.
//
// Start gives the bytes to send first, Receive takes whatever arrived and gives the bytes to send in answer. Once Done,
// Peer is the other side's hello (nil in version 1), and Leftover what came after. After an error the connection is to
// be closed; Refusal is what to send before that, if anything.
type Handshake struct {
	Peer    *Hello
	Refusal []byte
	data    []byte
	state   func() ([]byte, bool, error)
	done    bool
	proving bool
	first   []byte
	token   []byte
	hello   Hello
	answer  func(*Hello) Hello
	mine    [NonceSize]byte
	theirs  []byte
}

// Dial1 is the creator's side of version 1.
func Dial1() *Handshake {
	h := &Handshake{first: syn}
	h.state = func() ([]byte, bool, error) { return h.word(ack, "ACK", nil) }
	return h
}

// Accept1 is the point's side of version 1.
func Accept1() *Handshake {
	h := &Handshake{}
	h.state = func() ([]byte, bool, error) { return h.word(syn, "SYN", ack) }
	return h
}

// Dial2 is the side that calls.
func Dial2(token []byte, hello Hello, nonce [NonceSize]byte) *Handshake {
	h := &Handshake{token: token, hello: hello, mine: nonce}
	h.first = append(append([]byte{}, magic...), nonce[:]...)
	h.state = h.awaitChallenge
	return h
}

// Accept2 is the side that is called; answer makes our hello from the caller's.
func Accept2(token []byte, answer func(*Hello) Hello, nonce [NonceSize]byte) *Handshake {
	h := &Handshake{token: token, answer: answer, mine: nonce}
	h.state = h.awaitOpening
	return h
}

// Start gives what to send first.
func (h *Handshake) Start() []byte { return h.first }

// Done says whether the channel is live.
func (h *Handshake) Done() bool { return h.done }

// Leftover is what came after the handshake: it belongs to the channel.
func (h *Handshake) Leftover() []byte { return h.data }

// Receive takes what arrived and gives what to send in answer.
func (h *Handshake) Receive(data []byte) ([]byte, error) {
	h.data = append(h.data, data...)
	var out []byte
	for !h.done {
		answer, moved, err := h.state()
		out = append(out, answer...)
		if err != nil {
			return out, err
		}
		if !moved {
			break
		}
	}
	return out, nil
}

// End is the error of a peer that closed the connection in mid-handshake.
func (h *Handshake) End() error {
	if h.proving {
		return &AuthenticationError{"a caller left when it saw our proof: it has another token"}
	}
	return handshakeError("the peer closed the connection in mid-greeting")
}

// expect says whether the data starts with all of word; it refuses at the first wrong byte.
func (h *Handshake) expect(word []byte, what string) (bool, error) {
	have := h.data[:min(len(h.data), len(word))]
	if !bytes.HasPrefix(word, have) {
		return false, handshakeError("the peer said %q where %s belongs", h.data[:min(len(h.data), 16)], what)
	}
	return len(have) == len(word), nil
}

func (h *Handshake) take(count int) []byte {
	taken := h.data[:count:count]
	h.data = h.data[count:]
	return taken
}

func (h *Handshake) word(wanted []byte, what string, answer []byte) ([]byte, bool, error) {
	ok, err := h.expect(wanted, what)
	if ok {
		h.take(len(wanted))
		h.done = true
		return answer, true, nil
	}
	return nil, false, err
}

func (h *Handshake) awaitChallenge() ([]byte, bool, error) {
	if ok, err := h.expect(magic, "the challenge"); !ok || len(h.data) < len(magic)+NonceSize+proofSize {
		return nil, false, err
	}
	h.take(len(magic))
	theirs, proved := h.take(NonceSize), h.take(proofSize)
	if !hmac.Equal(proved, proof(h.token, "acceptor", h.mine[:], theirs)) {
		return nil, false, &AuthenticationError{
			"the other side does not know this job's token: PARCS_TOKEN is not the one it expects, or the address " +
				"belongs to another job"}
	}
	h.state = h.awaitWelcome
	return append(proof(h.token, "dialer", h.mine[:], theirs), ControlFrame(h.hello)...), true, nil
}

func (h *Handshake) awaitWelcome() ([]byte, bool, error) {
	body, err := h.controlBody()
	if body == nil || err != nil {
		return nil, false, err
	}
	message, err := ParseControl(body)
	switch {
	case err != nil:
		return nil, false, handshakeError("%v", err)
	case message.Kind == "refused":
		return nil, false, &VersionMismatchError{message.Reason}
	case message.Kind != "hello":
		return nil, false, handshakeError("the peer said %q where its hello belongs", message.Kind)
	}
	h.Peer, err = parseHello(body)
	h.done = err == nil
	return nil, h.done, err
}

func (h *Handshake) awaitOpening() ([]byte, bool, error) {
	if ok, err := h.expect(magic, "a PARCS greeting"); !ok || len(h.data) < len(magic)+NonceSize {
		return nil, false, err
	}
	h.take(len(magic))
	h.theirs = h.take(NonceSize)
	h.state, h.proving = h.awaitProof, true
	out := append(append([]byte{}, magic...), h.mine[:]...)
	return append(out, proof(h.token, "acceptor", h.theirs, h.mine[:])...), true, nil
}

func (h *Handshake) awaitProof() ([]byte, bool, error) {
	if len(h.data) < proofSize {
		return nil, false, nil
	}
	if !hmac.Equal(h.take(proofSize), proof(h.token, "dialer", h.theirs, h.mine[:])) {
		return nil, false, &AuthenticationError{"a caller could not prove the job's token; it was refused"}
	}
	h.state, h.proving = h.awaitHello, false
	return nil, true, nil
}

func (h *Handshake) awaitHello() ([]byte, bool, error) {
	body, err := h.controlBody()
	if body == nil || err != nil {
		return nil, false, err
	}
	message, err := ParseControl(body)
	if err != nil {
		return nil, false, handshakeError("%v", err)
	}
	if message.Kind != "hello" {
		err = handshakeError("the peer said %q where its hello belongs", message.Kind)
	} else {
		h.Peer, err = parseHello(body)
	}
	if err != nil {
		h.Refusal = ControlFrame(Message{Kind: "refused", Reason: err.Error()})
		return nil, false, err
	}
	h.done = true
	return ControlFrame(h.answer(h.Peer)), true, nil
}

// controlBody is the control frame at the head of the data, once it is whole; nil before.
func (h *Handshake) controlBody() ([]byte, error) {
	if len(h.data) < HeaderSize {
		return nil, nil
	}
	_, size, err := ParseHeader(h.data, tagsGreeted, helloLimit)
	if err != nil {
		return nil, handshakeError("%v", err)
	}
	if len(h.data) < HeaderSize+size {
		return nil, nil
	}
	h.take(HeaderSize)
	if size == 0 {
		return nil, handshakeError("an empty control frame")
	}
	return h.take(size), nil
}

// IsRefusal says whether an error means that whoever answered is not whom we called, so that calling again is no use.
func IsRefusal(err error) bool {
	var greeting *HandshakeError
	var token *AuthenticationError
	var version *VersionMismatchError
	return errors.As(err, &greeting) || errors.As(err, &token) || errors.As(err, &version)
}
