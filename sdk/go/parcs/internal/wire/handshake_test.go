package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"reflect"
	"testing"
)

type greeting struct {
	Name, Side, Token, Nonce string
	Hello                    json.RawMessage
	Steps                    []struct{ Receive, Send, Error, Refusal string }
}

func vectors(t *testing.T) (good, bad []greeting) {
	t.Helper()
	data, err := os.ReadFile("../../../../../protocol/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Handshakes    []greeting
		BadHandshakes []greeting `json:"bad_handshakes"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all.Handshakes, all.BadHandshakes
}

func unhex(t *testing.T, text string) []byte {
	t.Helper()
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (g greeting) machine(t *testing.T) *Handshake {
	t.Helper()
	var nonce [NonceSize]byte
	copy(nonce[:], unhex(t, g.Nonce))
	var hello Hello
	if len(g.Hello) > 0 {
		if err := json.Unmarshal(g.Hello, &hello); err != nil {
			t.Fatal(err)
		}
	}
	token := unhex(t, g.Token)
	switch g.Side {
	case "dialer-1":
		return Dial1()
	case "acceptor-1":
		return Accept1()
	case "dialer-2":
		return Dial2(token, hello, nonce)
	case "acceptor-2":
		return Accept2(token, func(*Hello) Hello { return hello }, nonce)
	}
	t.Fatalf("no side %q", g.Side)
	return nil
}

// sameBytes compares what was sent: fixed bytes exactly, a hello by its fields (spaces in JSON are free).
func sameBytes(t *testing.T, got, want []byte) {
	t.Helper()
	at := bytes.Index(want, []byte(`{"kind"`))
	if at < 0 {
		if !bytes.Equal(got, want) {
			t.Fatalf("sent %x, want %x", got, want)
		}
		return
	}
	head := at - HeaderSize
	if !bytes.Equal(got[:head], want[:head]) {
		t.Fatalf("sent %x, want %x", got[:head], want[:head])
	}
	var a, b map[string]any
	if json.Unmarshal(got[at:], &a) != nil || json.Unmarshal(want[at:], &b) != nil || !reflect.DeepEqual(a, b) {
		t.Fatalf("sent %s, want %s", got[at:], want[at:])
	}
}

func feed(h *Handshake, data []byte, piece int) (out []byte, err error) {
	for len(data) > 0 && err == nil {
		n := min(piece, len(data))
		var answer []byte
		answer, err = h.Receive(data[:n])
		out, data = append(out, answer...), data[n:]
	}
	return out, err
}

func TestGreetings(t *testing.T) {
	good, bad := vectors(t)
	for _, g := range append(good, bad...) {
		for _, piece := range []int{1, 7, 1 << 20} {
			t.Run(g.Name, func(t *testing.T) {
				h := g.machine(t)
				out := h.Start()
				for i, step := range g.Steps {
					var err error
					if i > 0 {
						out, err = feed(h, unhex(t, step.Receive), piece)
					}
					if step.Error != "" {
						if kindOf(err) != step.Error {
							t.Fatalf("got %v, want %s", err, step.Error)
						}
						if (step.Refusal != "") != (len(h.Refusal) > 0) {
							t.Fatalf("refusal %q, want %q", h.Refusal, step.Refusal)
						}
						return
					}
					if err != nil {
						t.Fatal(err)
					}
					sameBytes(t, out, unhex(t, step.Send))
				}
				if !h.Done() {
					t.Fatal("not done")
				}
			})
		}
	}
}

func kindOf(err error) string {
	var a *HandshakeError
	var b *AuthenticationError
	var c *VersionMismatchError
	switch {
	case errors.As(err, &a):
		return "HandshakeError"
	case errors.As(err, &b):
		return "AuthenticationError"
	case errors.As(err, &c):
		return "VersionMismatchError"
	}
	return ""
}

func FuzzGreeting(f *testing.F) {
	f.Add([]byte("PARCS\x002\n"), true)
	f.Add([]byte("SYN"), false)
	f.Fuzz(func(t *testing.T, data []byte, second bool) {
		h := Accept1()
		if second {
			h = Accept2([]byte("token"), func(h *Hello) Hello { return *h }, [NonceSize]byte{})
		}
		_, err := h.Receive(data)
		if err == nil && second && h.Done() {
			t.Fatal("a stranger was let in")
		}
	})
}
