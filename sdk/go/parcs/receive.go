package parcs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"syscall"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/codec"
	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

// A channel's receiving half.

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
		return c.remoteError(frame.Body)
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
		c.waitsSince.Store(begin)
		n, err = c.conn.Read(c.reader.Buffer())
		c.waitsSince.Store(0)
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
