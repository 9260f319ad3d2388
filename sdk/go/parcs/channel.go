package parcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
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
	waitsSince atomic.Int64 // since when somebody waits to receive here; 0 if nobody does
}

var began = time.Now()

func now() int64 { return int64(time.Since(began)) }

func newChannel(c connection, name, identity string, home home) *Channel {
	tune(c.conn, home.options().hostSilence)
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
	c.lookIn() // what the peer said before it went
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

// lookIn takes in what has come, unless somebody is receiving and will.
func (c *Channel) lookIn() {
	if c.recvMu.TryLock() {
		c.takeIn()
		c.recvMu.Unlock()
	}
}
