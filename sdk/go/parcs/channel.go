package parcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/codec"
	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

const (
	joinUpTo  = 64 * 1024
	readAhead = 1 << 20

	// An answer that took less than brisk has the next one looked for, again and again, before Recv sleeps: to sleep and be
	// woken costs as much, on another processor more.
	brisk = 500 * time.Microsecond
	again = 200 * time.Microsecond
	alone = 30 * time.Microsecond // of which so much without letting others run
)

var longAgo = time.Unix(1, 0)

// Codec is how a value becomes bytes. The receiver is told, so it is never configured.
type Codec struct{ tag wire.Tag }

// The codecs that every language reads.
var (
	JSON        = Codec{wire.JSON}
	MessagePack = Codec{wire.MessagePack}
	Raw         = Codec{wire.Raw}
)

// connection is a greeted socket: nothing is left of the handshake but who is there.
type connection struct {
	conn   *net.TCPConn
	reader *wire.Reader
	peer   wire.Hello
}

// home is what a channel needs of the program it belongs to.
type home interface {
	options() settings
	attached(message wire.Message)
	forget(*Channel)
	note(kind string, c *Channel, number int64, size int, begin time.Time)
	traces() bool
}

// Channel is an ordered, bidirectional stream of messages between two programs. One goroutine may send while another
// receives; several that send, or receive, at once take turns.
//
// The goroutine that receives reads the socket itself: nothing stands between a message and its user. What has to happen
// while nobody receives is done by the endpoint's keeper (beat).
type Channel struct {
	name, identity string
	home           home
	conn           *net.TCPConn
	peer           wire.Hello
	version1       bool
	standard       atomic.Uint32

	sendMu sync.Mutex
	buffer []byte

	recvMu     sync.Mutex
	reader     *wire.Reader
	inbox      []wire.Received
	inboxBytes int
	brisk      bool

	mu      sync.Mutex
	failure error
	saidBye atomic.Bool
	closing sync.Once

	heard, spoke atomic.Int64 // nanoseconds since began
	sent, received,
	bytesSent, bytesReceived, waited atomic.Int64
}

var began = time.Now()

func now() int64 { return int64(time.Since(began)) }

func newChannel(c connection, name, identity string, home home) *Channel {
	tune(c.conn)
	made := &Channel{
		name: name, identity: identity, home: home, conn: c.conn, peer: c.peer, reader: c.reader,
		version1: c.peer.Protocol != wire.Protocol,
	}
	made.heard.Store(now())
	made.spoke.Store(now())
	return made
}

// Name is what the program calls the other end.
func (c *Channel) Name() string { return c.name }

// SetCodec sets the codec of messages that are sent without one of their own; []byte always goes raw. JSON at first.
func (c *Channel) SetCodec(codec Codec) { c.standard.Store(uint32(codec.tag)) }

// Send sends one message: []byte as it is, everything else as JSON (or what SetCodec says).
//
// Errors: *EncodeError and *FrameTooLargeError leave the channel usable; ErrClosed, ErrEndOfChannel, *BrokenError and
// *PeerSilentError say why it is not.
func (c *Channel) Send(v any) error { return c.SendContext(context.Background(), v) }

// SendContext is Send with a limit. A message that was cut off by the context's end breaks the channel.
func (c *Channel) SendContext(ctx context.Context, v any) error {
	return c.send(ctx, v, codec.Choose(v, wire.Tag(c.standard.Load())))
}

// SendAs sends one message in a codec of its own.
func (c *Channel) SendAs(codec Codec, v any) error { return c.send(context.Background(), v, codec.tag) }

// SendAll sends several messages, in order.
func (c *Channel) SendAll(vs ...any) error {
	for _, v := range vs {
		if err := c.Send(v); err != nil {
			return err
		}
	}
	return nil
}

func (c *Channel) send(ctx context.Context, v any, tag wire.Tag) error {
	if c.version1 && tag != wire.JSON {
		return &EncodeError{Codec: tag.String(), Type: fmt.Sprintf("%T", v),
			Err: errors.New("the peer speaks version 1, which carries JSON only")}
	}
	begin := c.traceBegin()
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	b, raw, err := codec.Append(append(c.buffer[:0], make([]byte, wire.HeaderSize)...), v, tag)
	if err != nil {
		return err
	}
	if cap(b) <= joinUpTo {
		c.buffer = b
	}
	size := len(b) - wire.HeaderSize + len(raw)
	if limit := min(c.home.options().frameLimit, c.peer.FrameLimit); int64(size) > limit {
		return &FrameTooLargeError{Size: int64(size), Limit: limit, Sending: true}
	}
	wire.PutHeader(b, tag, size)
	if err := c.write(ctx, b, raw); err != nil {
		return err
	}
	number := c.sent.Add(1)
	c.bytesSent.Add(int64(size))
	if !begin.IsZero() {
		c.home.note("send", c, number, size, begin)
	}
	return nil
}

func (c *Channel) traceBegin() time.Time {
	if c.home.traces() {
		return time.Now()
	}
	return time.Time{}
}

// transmit sends a control message.
func (c *Channel) transmit(message any) error {
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	return c.write(context.Background(), wire.ControlFrame(message), nil)
}

// transmitError tells the other side that this program's code has failed.
func (c *Channel) transmitError(e *RemoteError) error {
	body, err := json.Marshal(e)
	if err != nil {
		return err
	}
	c.sendMu.Lock()
	defer c.sendMu.Unlock()
	return c.write(context.Background(), wire.Frame(wire.Error, body), nil)
}

// write writes all of b, and raw behind it; called with the send lock held.
func (c *Channel) write(ctx context.Context, b, raw []byte) error {
	if err := c.failed(); err != nil {
		return err
	}
	c.spoke.Store(now())
	if len(raw) > 0 && len(b)+len(raw) <= joinUpTo {
		b, raw = append(b, raw...), nil
	}
	release := c.until(ctx, c.conn.SetWriteDeadline)
	var err error
	if len(raw) == 0 {
		_, err = c.conn.Write(b)
	} else {
		parts := net.Buffers{b, raw}
		_, err = parts.WriteTo(c.conn)
	}
	release()
	if err == nil {
		return nil
	}
	if failure := c.failed(); failure != nil {
		return failure
	}
	if ctx.Err() != nil {
		c.fail(&BrokenError{c.name, "was given up in the middle of a message", ctx.Err()})
		return ctx.Err()
	}
	c.hearLastWords()
	return c.lost(err)
}

// until has an operation end when ctx does; to be released after it.
func (c *Channel) until(ctx context.Context, setDeadline func(time.Time) error) (release func()) {
	if ctx.Done() == nil {
		return func() {}
	}
	over := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = setDeadline(longAgo)
		close(over)
	})
	return func() {
		if !stop() {
			<-over
			if c.failed() == nil {
				_ = setDeadline(time.Time{})
			}
		}
	}
}

// hearLastWords takes in what the peer said before it went.
func (c *Channel) hearLastWords() {
	if c.recvMu.TryLock() {
		c.takeIn()
		c.recvMu.Unlock()
	}
}

// Recv waits for the next message and stores it in what v points to, as json.Unmarshal does; with nil the message is
// dropped. A *[]byte or a slice of numbers is stored in the memory that it has, if that is large enough.
//
// Errors: *RemoteError, *DecodeError (this message is lost, the next one may be read), ErrEndOfChannel, and as for Send.
func (c *Channel) Recv(v any) error { return c.RecvContext(context.Background(), v) }

// RecvContext is Recv with a limit; after the context's end the channel is as it was. If that was in the middle of a
// message, a *[]byte that was to have it is nil.
func (c *Channel) RecvContext(ctx context.Context, v any) error {
	begin := c.traceBegin()
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	into, _ := v.(*[]byte)
	if into != nil {
		c.reader.Spare = *into
	}
	frame, err := c.next(ctx)
	if into != nil {
		if err != nil && c.reader.Spare == nil {
			*into = nil // the rest of the message is still to be written there
		}
		c.reader.Spare = nil
	}
	if err != nil {
		return err
	}
	number, size := c.received.Add(1), len(frame.Body)
	c.bytesReceived.Add(int64(size))
	if !begin.IsZero() {
		c.home.note("recv", c, number, size, begin)
	}
	switch {
	case frame.Tag == wire.Error:
		remote := &RemoteError{Point: c.name}
		if err := json.Unmarshal(frame.Body, remote); err != nil {
			return &DecodeError{Codec: "error", Err: err}
		}
		return remote
	case frame.Tag == wire.Control:
		return &DecodeError{Codec: "control", Err: errors.New("the peer handed a channel on, which this SDK cannot take yet")}
	}
	if message, ok := v.(*Message); ok {
		*message = Message{Codec{frame.Tag}, append([]byte(nil), frame.Body...)}
		return nil
	}
	return codec.Decode(frame.Tag, frame.Body, frame.Owned, v)
}

// Message is a message as it travels: Recv into one keeps the bytes, SendMessage passes them on.
type Message struct {
	Codec Codec
	Body  []byte
}

// SendMessage sends a message as it was received.
func (c *Channel) SendMessage(m Message) error {
	switch m.Codec.tag {
	case wire.Raw:
		return c.SendAs(Raw, m.Body)
	case wire.JSON:
		return c.SendAs(JSON, json.RawMessage(m.Body))
	}
	return c.SendAs(m.Codec, codec.Encoded(m.Body))
}

// next is the next frame that is a user's; called with the receive lock held.
func (c *Channel) next(ctx context.Context) (wire.Received, error) {
	if len(c.inbox) > 0 {
		frame := c.inbox[0]
		c.inbox[0] = wire.Received{}
		c.inbox = c.inbox[1:]
		c.inboxBytes -= len(frame.Body)
		return frame, nil
	}
	var release func()
	for {
		if err := c.failed(); err != nil {
			return wire.Received{}, err
		}
		frame, ok, err := c.reader.Next()
		if err != nil {
			return frame, c.fail(err)
		}
		if ok {
			if users, err := c.sort(frame); users || err != nil {
				return frame, err
			}
			continue
		}
		if release == nil {
			release = c.until(ctx, c.conn.SetReadDeadline)
			defer release()
		}
		if err := c.fill(ctx); err != nil {
			return frame, err
		}
	}
}

// fill reads once, waiting for as long as it takes.
func (c *Channel) fill(ctx context.Context) error {
	begin := now()
	n, err := 0, error(nil)
	if c.brisk {
		n, err = c.lookAgain(begin + int64(again))
	}
	if n == 0 && err == nil {
		n, err = c.conn.Read(c.reader.Buffer())
	}
	at := now()
	c.waited.Add(at - begin)
	c.brisk = at-begin < int64(brisk)
	if n > 0 {
		c.heard.Store(at)
		c.reader.Received(n)
		return nil
	}
	if failure := c.failed(); failure != nil {
		return failure
	}
	if errors.Is(err, os.ErrDeadlineExceeded) && ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, io.EOF) {
		return c.ended()
	}
	return c.lost(err)
}

// lookAgain looks for an answer without sleeping, until that moment; 0 and no error if none came.
func (c *Channel) lookAgain(until int64) (int, error) {
	for {
		n, err := readNow(c.conn, c.reader.Buffer())
		switch {
		case n > 0:
			return n, nil
		case err == nil:
			return 0, io.EOF
		case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR):
			return 0, err
		case now() >= until:
			return 0, nil
		}
		if now() >= until-int64(again-alone) {
			yield() // the answer may have to be made on this very processor
		}
	}
}

// sort says whether a frame is for the user; what is for the channel itself is done here and now.
func (c *Channel) sort(frame wire.Received) (bool, error) {
	switch frame.Tag {
	case wire.KeepAlive:
		return false, nil
	case wire.Control:
	default:
		return true, nil
	}
	message, err := wire.ParseControl(frame.Body)
	if err != nil {
		return false, c.fail(err)
	}
	switch message.Kind {
	case "bye":
		c.saidBye.Store(true)
	case "attach":
		c.home.attached(message)
	case "channel":
		return true, nil
	case "moving":
		return false, c.fail(&BrokenError{c.name, "is being handed on, which this SDK cannot follow yet", nil})
	default:
		return false, c.fail(&BrokenError{c.name, fmt.Sprintf("said %q in mid-channel", message.Kind), nil})
	}
	return false, nil
}

// takeIn reads what has come, without waiting; called with the receive lock held.
func (c *Channel) takeIn() {
	for c.failed() == nil {
		frame, ok, err := c.reader.Next()
		if err != nil {
			_ = c.fail(err)
			return
		}
		if ok {
			if users, err := c.sort(frame); err == nil && users {
				if !frame.Owned {
					frame.Body, frame.Owned = append([]byte(nil), frame.Body...), true
				}
				c.inbox = append(c.inbox, frame)
				c.inboxBytes += len(frame.Body)
			}
			continue
		}
		if c.inboxBytes > readAhead || c.saidBye.Load() {
			return
		}
		n, err := readNow(c.conn, c.reader.Buffer())
		switch {
		case n > 0:
			c.heard.Store(now())
			c.reader.Received(n)
		case errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.EINTR):
			return
		case err == nil:
			_ = c.ended()
		default:
			_ = c.lost(err)
		}
	}
}

// beat is one beat of the keeper: a sign of life if it is due, what came while nobody received, and whether the peer lives.
func (c *Channel) beat() {
	if c.failed() != nil {
		return
	}
	options := c.home.options()
	if !c.version1 && options.keepAlive > 0 && now()-c.spoke.Load() >= int64(options.keepAlive) && !c.saidBye.Load() {
		c.showLife()
	}
	if silence := silentFor(c.conn); silence > options.hostSilence {
		_ = c.fail(&PeerSilentError{c.name, silence})
		return
	}
	if c.recvMu.TryLock() {
		c.takeIn()
		c.recvMu.Unlock()
	}
	silence := time.Duration(now() - c.heard.Load())
	theirs := time.Duration(c.peer.KeepAlive * float64(time.Second))
	if theirs > 0 && silence > max(options.silence, 3*theirs) {
		_ = c.fail(&PeerSilentError{c.name, silence})
	}
}

func (c *Channel) showLife() {
	if !c.sendMu.TryLock() {
		return // somebody is sending: that is sign of life enough
	}
	defer c.sendMu.Unlock()
	frame := wire.Frame(wire.KeepAlive, nil)
	n, err := writeNow(c.conn, frame)
	if n > 0 && n < len(frame) {
		_, err = c.conn.Write(frame[n:]) // half a frame has to be finished
	}
	if err == nil {
		c.spoke.Store(now())
	}
}

func (c *Channel) failed() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.failure
}

// fail finishes the channel, for the first reason that is given; whoever is blocked on it returns.
func (c *Channel) fail(err error) error {
	c.mu.Lock()
	if c.failure == nil {
		c.failure = err
	}
	err = c.failure
	c.mu.Unlock()
	_ = c.conn.SetDeadline(longAgo)
	return err
}

// ended is what the end of the stream means.
func (c *Channel) ended() error {
	if err := c.reader.End(); err != nil {
		return c.fail(err)
	}
	if c.version1 || c.saidBye.Load() {
		return c.fail(ErrEndOfChannel)
	}
	return c.fail(&BrokenError{c.name, "ended without a goodbye", nil})
}

// lost is what the system's word that the connection is gone means.
func (c *Channel) lost(err error) error {
	if c.saidBye.Load() {
		return c.fail(ErrEndOfChannel)
	}
	return c.fail(&BrokenError{c.name, fmt.Sprintf("is gone: %v", err), err})
}

// lastWords gives the errors that the peer sent before it went, and drops everything else.
func (c *Channel) lastWords() (found []error) {
	c.recvMu.Lock()
	defer c.recvMu.Unlock()
	for _, frame := range c.inbox {
		if frame.Tag == wire.Error {
			remote := &RemoteError{Point: c.name}
			if json.Unmarshal(frame.Body, remote) == nil {
				found = append(found, remote)
			}
		}
	}
	return found
}

// over says whether the peer has said goodbye, or is lost; not if this program closed the channel.
func (c *Channel) over() bool {
	err := c.failed()
	return c.saidBye.Load() || err != nil && !errors.Is(err, ErrClosed)
}

// Close says goodbye, and closes the channel once the peer has everything that was sent. Doing it twice does nothing.
func (c *Channel) Close() error {
	c.close(c.home.options().silence)
	return nil
}

// close gives what the peer has not taken after patience up.
func (c *Channel) close(patience time.Duration) {
	c.closing.Do(func() {
		broken := c.failed() != nil
		_ = c.fail(ErrClosed) // wakes whoever is blocked
		c.home.forget(c)
		c.sendMu.Lock()
		defer c.sendMu.Unlock()
		c.recvMu.Lock()
		defer c.recvMu.Unlock()
		if !broken {
			_ = c.conn.SetDeadline(time.Now().Add(time.Second))
			if !c.version1 {
				_, _ = c.conn.Write(wire.ControlFrame(wire.Message{Kind: "bye"}))
			}
			c.settle(patience)
		}
		_ = c.conn.Close()
	})
}

// settle reads on until the peer's kernel has everything: a close with unread bytes (a sign of life is enough) resets the
// connection, and what was not taken yet is lost.
func (c *Channel) settle(patience time.Duration) {
	_ = c.conn.CloseWrite()
	if c.saidBye.Load() {
		return
	}
	scratch := make([]byte, 4096)
	pause := time.Millisecond
	for deadline := time.Now().Add(patience); unsent(c.conn) > 0 && time.Now().Before(deadline); {
		_ = c.conn.SetReadDeadline(time.Now().Add(pause))
		if _, err := c.conn.Read(scratch); err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		pause = min(2*pause, 50*time.Millisecond)
	}
	for {
		if n, err := readNow(c.conn, scratch); n == 0 || err != nil {
			return
		}
	}
}
