package parcs

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"net"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

var quick = settings{
	frameLimit: 1 << 30, keepAlive: 200 * time.Millisecond, silence: 2 * time.Second, hostSilence: 4 * time.Second,
	startTimeout: 5 * time.Second,
}

func testEndpoint(t *testing.T, name, token string, s settings) *endpoint {
	e := newEndpoint(name, []byte(token), s, "127.0.0.1", "", "")
	t.Cleanup(e.close)
	return e
}

// pair is a channel and its other end.
func pair(t *testing.T, s settings) (*Channel, *Channel) {
	t.Helper()
	a, b := testEndpoint(t, "a", "secret", s), testEndpoint(t, "b", "secret", s)
	l, err := a.listen()
	if err != nil {
		t.Fatal(err)
	}
	there, err := b.dial(l.address, "point", "b-1", "", false)
	if err != nil {
		t.Fatal(err)
	}
	return a.adopt(claim(t, l, "b-1"), "b-1", "b-1", false), there
}

func claim(t *testing.T, l *listener, ticket string) connection {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_, greeted, err := l.claim(ctx, map[string]bool{ticket: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	return greeted
}

func soon(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestValuesArriveAsTheyWere(t *testing.T) {
	a, b := pair(t, quick)
	type thing struct {
		Name string
		Size float64
	}
	for _, codec := range []Codec{JSON, MessagePack} {
		a.SetCodec(codec)
		for _, value := range []any{
			42, "text", true, []int{1, -2, 1 << 40}, []int64{math.MinInt64}, []float64{0.5, -1e300}, thing{"x", 2.5},
			map[string]int{"a": 1}, []string{"ü", ""}, strings.Repeat("long ", 50_000),
		} {
			if err := a.Send(value); err != nil {
				t.Fatal(err)
			}
			got := reflect.New(reflect.TypeOf(value))
			if err := b.RecvContext(soon(t), got.Interface()); err != nil {
				t.Fatal(value, err)
			}
			if !reflect.DeepEqual(got.Elem().Interface(), value) {
				t.Fatalf("%v became %v", value, got.Elem())
			}
		}
	}
}

func TestBytesOfAnySize(t *testing.T) {
	a, b := pair(t, quick)
	var got []byte
	for _, size := range []int{0, 1, 8, 65527, 65528, 65529, 1 << 20, 1<<20 + 1, 33 << 20} {
		body := bytes.Repeat([]byte{7}, size)
		go func() { _ = a.Send(body) }()
		if err := b.RecvContext(soon(t), &got); err != nil || !bytes.Equal(got, body) {
			t.Fatal(size, len(got), err)
		}
	}
	memory := &got[0]
	go func() { _ = a.Send(make([]byte, 20<<20)) }()
	if err := b.Recv(&got); err != nil || &got[0] != memory {
		t.Fatal("a slice with room was not used again", err)
	}
}

func TestBothWaysAtOnce(t *testing.T) {
	a, b := pair(t, quick)
	big := make([]byte, 24<<20) // more than any buffer holds
	var all sync.WaitGroup
	for _, end := range []*Channel{a, b} {
		all.Add(2)
		go func() {
			defer all.Done()
			if err := end.Send(big); err != nil {
				t.Error(err)
			}
		}()
		go func() {
			defer all.Done()
			var got []byte
			if err := end.Recv(&got); err != nil || len(got) != len(big) {
				t.Error(len(got), err)
			}
		}()
	}
	all.Wait()
}

func TestManySendersTakeTurns(t *testing.T) {
	a, b := pair(t, quick)
	const senders, each = 8, 500
	for range senders {
		go func() {
			for i := range each {
				if err := a.Send(i); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	sum := 0
	for range senders * each {
		var v int
		if err := b.RecvContext(soon(t), &v); err != nil {
			t.Fatal(err)
		}
		sum += v
	}
	if sum != senders*each*(each-1)/2 {
		t.Fatal(sum)
	}
}

func TestAContextEndsARecvAndLeavesTheChannelUsable(t *testing.T) {
	a, b := pair(t, quick)
	for range 50 {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		var v int
		if err := b.RecvContext(ctx, &v); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		cancel()
	}
	if err := a.Send(1); err != nil {
		t.Fatal(err)
	}
	var v int
	if err := b.RecvContext(soon(t), &v); err != nil || v != 1 {
		t.Fatal(v, err)
	}
}

func TestMemoryIsNotLentOutTwice(t *testing.T) {
	a, b := pair(t, quick)
	body := bytes.Repeat([]byte{9}, 1<<20)
	frame := wire.Frame(wire.Raw, body)
	if _, err := a.conn.Write(frame[:1<<19]); err != nil {
		t.Fatal(err)
	}
	mine := make([]byte, 2<<20)
	got := mine
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	if err := b.RecvContext(ctx, &got); !errors.Is(err, context.DeadlineExceeded) || got != nil {
		t.Fatal(len(got), err)
	}
	if _, err := a.conn.Write(frame[1<<19:]); err != nil {
		t.Fatal(err)
	}
	if err := b.RecvContext(soon(t), &got); err != nil || !bytes.Equal(got, body) {
		t.Fatal(len(got), err)
	}
}

func TestAGoodbyeIsAnEndAndEverythingArrivesBefore(t *testing.T) {
	a, b := pair(t, quick)
	if err := a.SendAll(1, 2, 3); err != nil {
		t.Fatal(err)
	}
	_ = a.Close()
	_ = a.Close()
	for want := 1; want <= 3; want++ {
		var v int
		if err := b.RecvContext(soon(t), &v); err != nil || v != want {
			t.Fatal(v, err)
		}
	}
	if err := b.RecvContext(soon(t), nil); !errors.Is(err, ErrEndOfChannel) || !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if err := a.Send(1); !errors.Is(err, ErrClosed) {
		t.Fatal(err)
	}
}

func TestAQuietChannelLives(t *testing.T) {
	s := quick
	s.silence = time.Second
	a, b := pair(t, s)
	time.Sleep(2500 * time.Millisecond)
	if err := a.Send("still here"); err != nil {
		t.Fatal(err)
	}
	var text string
	if err := b.RecvContext(soon(t), &text); err != nil || text != "still here" {
		t.Fatal(text, err)
	}
}

func TestASilentPeerIsNoticed(t *testing.T) {
	s := quick
	s.silence = 700 * time.Millisecond
	mute := rawPeer(t, s)
	var v int
	var silent *PeerSilentError
	if err := mute.RecvContext(soon(t), &v); !errors.As(err, &silent) {
		t.Fatal(err)
	}
}

// rawPeer is a channel to somebody who greets well, promises signs of life, and says nothing more.
func rawPeer(t *testing.T, s settings) *Channel {
	t.Helper()
	e := testEndpoint(t, "a", "secret", s)
	l, err := e.listen()
	if err != nil {
		t.Fatal(err)
	}
	where, _ := parseAddress(l.address)
	conn, err := connect(where)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	hello := wire.Hello{Kind: "hello", Role: "point", Ticket: "mute", FrameLimit: 1 << 20, KeepAlive: 0.1, Protocol: 2}
	if _, err := greet(conn, wire.Dial2([]byte("secret"), hello, wire.NewNonce("")), "x", 1<<20); err != nil {
		t.Fatal(err)
	}
	return e.adopt(claim(t, l, "mute"), "mute", "mute", false)
}

func TestAWrongTokenAndGarbageHarmNobody(t *testing.T) {
	e := testEndpoint(t, "a", "secret", quick)
	l, err := e.listen()
	if err != nil {
		t.Fatal(err)
	}
	stranger := testEndpoint(t, "stranger", "guess", quick)
	var token *AuthenticationError
	if _, err := stranger.dial(l.address, "point", "p-1", "", false); !errors.As(err, &token) {
		t.Fatal(err)
	}
	where, _ := parseAddress(l.address)
	for _, garbage := range []string{"GET / HTTP/1.1\r\n\r\n", "", "PARCS\x002\n", "\x16\x03\x01"} {
		conn, err := net.Dial("tcp", where)
		if err != nil {
			t.Fatal(err)
		}
		_, _ = conn.Write([]byte(garbage))
		defer func() { _ = conn.Close() }()
	}
	friend := testEndpoint(t, "friend", "secret", quick)
	if _, err := friend.dial(l.address, "point", "p-1", "", false); err != nil {
		t.Fatal(err)
	}
	claim(t, l, "p-1")
}

func TestLimitsAreKeptOnBothSides(t *testing.T) {
	s := quick
	s.frameLimit = 4096
	a, b := pair(t, s)
	var large *FrameTooLargeError
	if err := a.Send(make([]byte, 5000)); !errors.As(err, &large) || !large.Sending {
		t.Fatal(err)
	}
	if err := a.Send(1); err != nil {
		t.Fatal("the channel is not usable any more:", err)
	}
	a.peer.FrameLimit = 1 << 20 // as if the other side had promised more than it takes
	a.home.(*endpoint).settings.frameLimit = 1 << 20
	_ = a.Send(make([]byte, 5000))
	if err := b.RecvContext(soon(t), nil); err != nil {
		t.Fatal(err)
	}
	if err := b.RecvContext(soon(t), nil); !errors.As(err, &large) || large.Sending {
		t.Fatal(err)
	}
}

func TestABodyThatDoesNotFitLosesThatMessageOnly(t *testing.T) {
	a, b := pair(t, quick)
	_ = a.SendAll("text", 2)
	var v int
	var garbled *DecodeError
	if err := b.RecvContext(soon(t), &v); !errors.As(err, &garbled) {
		t.Fatal(err)
	}
	if err := b.RecvContext(soon(t), &v); err != nil || v != 2 {
		t.Fatal(v, err)
	}
	var unencodable *EncodeError
	if err := a.Send(func() {}); !errors.As(err, &unencodable) {
		t.Fatal(err)
	}
}

func TestAnErrorOfTheOtherSideHasItsTraceback(t *testing.T) {
	a, b := pair(t, quick)
	if err := a.transmitError(&RemoteError{"p-1", "ValueError", "no good", "Traceback: line 1"}); err != nil {
		t.Fatal(err)
	}
	var remote *RemoteError
	if err := b.RecvContext(soon(t), nil); !errors.As(err, &remote) || remote.Type != "ValueError" ||
		!strings.Contains(err.Error(), "line 1") {
		t.Fatal(err)
	}
}

func TestATornConnectionIsNoEnd(t *testing.T) {
	a, b := pair(t, quick)
	if err := a.Send(1); err != nil {
		t.Fatal(err)
	}
	_, _ = a.conn.Write(wire.Frame(wire.Raw, make([]byte, 100))[:50])
	_ = a.conn.Close()
	if err := b.RecvContext(soon(t), nil); err != nil {
		t.Fatal(err)
	}
	var torn *TruncatedFrameError
	if err := b.RecvContext(soon(t), nil); !errors.As(err, &torn) {
		t.Fatal(err)
	}
}

func TestVersionOne(t *testing.T) {
	server, client := testEndpoint(t, "point", "", quick), testEndpoint(t, "runner", "", quick)
	probe, _ := net.Listen("tcp", "127.0.0.1:0")
	where := probe.Addr().String()
	_ = probe.Close()
	got := make(chan *Channel, 1)
	go func() {
		channel, _, err := server.acceptOriginal(where)
		if err != nil {
			t.Error(err)
		}
		got <- channel
	}()
	var original *Channel
	for deadline := time.Now().Add(5 * time.Second); original == nil && time.Now().Before(deadline); {
		original, _ = client.dialOriginal(where, "original")
		time.Sleep(5 * time.Millisecond)
	}
	point := <-got
	if err := original.SendAll(100, 1, 101); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := point.RecvContext(soon(t), &n); err != nil || n != 100 {
		t.Fatal(n, err)
	}
	if err := point.Send([]byte("bytes")); err == nil {
		t.Fatal("version 1 carries JSON only")
	}
	_ = original.Close()
	_ = point.RecvContext(soon(t), nil)
	_ = point.RecvContext(soon(t), nil)
	if err := point.RecvContext(soon(t), nil); !errors.Is(err, ErrEndOfChannel) {
		t.Fatal(err)
	}
}

func TestSettings(t *testing.T) {
	s, err := readSettings(func(name string) string {
		return map[string]string{"PARCS_FRAME_LIMIT": "1.5MiB", "PARCS_KEEPALIVE": "0.5"}[name]
	})
	if err != nil || s.frameLimit != 3<<19 || s.keepAlive != 500*time.Millisecond || s.silence != time.Minute {
		t.Fatal(s, err)
	}
	for name, value := range map[string]string{
		"PARCS_FRAME_LIMIT": "many", "PARCS_KEEPALIVE": "-1", "PARCS_SILENCE": "0", "PARCS_HOST_SILENCE": "NaN",
	} {
		if _, err := readSettings(func(n string) string {
			if n == name {
				return value
			}
			return ""
		}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s=%s: %v", name, value, err)
		}
	}
}
