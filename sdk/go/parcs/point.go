package parcs

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

// Point is a running instance of a module, and the channel to it.
type Point struct {
	name    string
	channel *Channel
	owner   backend
}

// Task is what the original calls a Point.
type Task = Point

// Name is the point's name in the control space.
func (p *Point) Name() string { return p.name }

// Channel is the channel to the point.
func (p *Point) Channel() *Channel { return p.channel }

// SetCodec sets the codec of messages that are sent without one of their own; see Channel.SetCodec.
func (p *Point) SetCodec(codec Codec) { p.channel.SetCodec(codec) }

// Send sends the point one message; see Channel.Send. A point that has died is a *PointDiedError or *NodeLostError.
func (p *Point) Send(v any) error { return p.SendContext(context.Background(), v) }

// SendContext is Send with a limit.
func (p *Point) SendContext(ctx context.Context, v any) error {
	return p.explain(p.channel.SendContext(ctx, v), true)
}

// SendAs sends one message in a codec of its own.
func (p *Point) SendAs(codec Codec, v any) error { return p.explain(p.channel.SendAs(codec, v), true) }

// SendAll sends several messages, in order.
func (p *Point) SendAll(vs ...any) error { return p.explain(p.channel.SendAll(vs...), true) }

// Recv waits for the point's next message; see Channel.Recv. A point whose code failed is a *RemoteError, one that has died
// a *PointDiedError or *NodeLostError.
func (p *Point) Recv(v any) error { return p.RecvContext(context.Background(), v) }

// RecvContext is Recv with a limit.
func (p *Point) RecvContext(ctx context.Context, v any) error {
	return p.explain(p.channel.RecvContext(ctx, v), false)
}

// Link gives this point and another a direct channel to each other: each finds it as Service.Peer(the other's name).
func (p *Point) Link(other *Point) error { return p.LinkAs(other, other.name, p.name) }

// LinkAs is Link with names of your own: this point finds the channel as Peer(name), the other one as Peer(back).
func (p *Point) LinkAs(other *Point, name, back string) error {
	var ticket [16]byte
	_, _ = rand.Read(ticket[:])
	text := hex.EncodeToString(ticket[:])
	if err := p.channel.transmit(wire.Message{Kind: "attach", Ticket: text, Name: name}); err != nil {
		return p.explain(err, true)
	}
	return other.explain(other.channel.transmit(
		wire.Message{Kind: "attach", Ticket: text, Name: back, Dial: p.channel.peer.Listen}), true)
}

// Shutdown ends the point and closes the channel to it. Doing it twice does nothing.
func (p *Point) Shutdown() error {
	open := !errors.Is(p.channel.failed(), ErrClosed)
	p.owner.stop([]*Point{p})
	if open {
		slog.Info(fmt.Sprintf("Connection to %s closed", p.name))
	}
	return nil
}

// explain says what became of the point where its channel says that it is gone.
func (p *Point) explain(err error, sending bool) error {
	var broken *BrokenError
	var torn *TruncatedFrameError
	var silent *PeerSilentError
	isEnd := errors.Is(err, ErrEndOfChannel)
	switch {
	case err == nil:
		return nil
	case errors.As(err, &broken), errors.As(err, &torn), errors.As(err, &silent), isEnd:
	default:
		return err
	}
	if sending { // if its code failed, that is in what it sent last
		if remote := p.channel.lastWords(); remote != nil {
			return remote
		}
	}
	node := p.channel.peer.Node
	if node == "" {
		node = p.owner.nodeOf(p.name)
	}
	if silent == nil || node == "" {
		ending := p.owner.endingOf(p.name)
		switch {
		case ending != nil && ending.Cause == "node-lost":
			return &NodeLostError{p.name, ending.Node, ending.Reason}
		case ending != nil && !ending.clean():
			return &PointDiedError{p.name, *ending}
		case ending != nil || node == "" || isEnd:
			return err
		}
	}
	p.owner.reportLost(p.name)
	return &NodeLostError{p.name, node, err.Error()}
}
