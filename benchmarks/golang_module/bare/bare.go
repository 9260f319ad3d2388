// Package bare is the floor: blocking sockets of Go and encoding/json, and nothing else.
package bare

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"io"
	"net"
)

// Order says what to do with how many messages.
type Order struct {
	Kind  string `json:"kind"`
	Count int    `json:"count"`
	Size  int    `json:"size"`
}

// Message is the small message of the benchmarks.
type Message struct {
	N     int    `json:"n"`
	Range []int  `json:"range"`
	Name  string `json:"name"`
}

// Small is one.
var Small = Message{12345678, []int{2, 4115227}, "factor-1"}

// Conn is a connection with frames: a length of eight bytes, and JSON.
type Conn struct {
	net.Conn
	reader *bufio.Reader
	out    []byte
}

// Wrap makes one.
func Wrap(c net.Conn) *Conn { return &Conn{c, bufio.NewReaderSize(c, 65536), nil} }

// Send sends one value.
func (c *Conn) Send(v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	c.out = binary.BigEndian.AppendUint64(c.out[:0], uint64(len(body)))
	c.out = append(c.out, body...)
	_, err = c.Write(c.out)
	return err
}

// Recv receives one value.
func (c *Conn) Recv(v any) error {
	var head [8]byte
	if _, err := io.ReadFull(c.reader, head[:]); err != nil {
		return err
	}
	body := make([]byte, binary.BigEndian.Uint64(head[:]))
	if _, err := io.ReadFull(c.reader, body); err != nil {
		return err
	}
	return json.Unmarshal(body, v)
}

// Serve echoes, or takes bytes, as it is told.
func Serve(c *Conn) error {
	var body []byte
	for {
		var order Order
		if err := c.Recv(&order); err != nil {
			return err
		}
		if order.Kind == "echo" {
			for range order.Count {
				var m Message
				if err := c.Recv(&m); err != nil {
					return err
				}
				if err := c.Send(m); err != nil {
					return err
				}
			}
			continue
		}
		if body == nil {
			body = make([]byte, order.Size)
		}
		for range order.Count {
			if _, err := io.ReadFull(c.reader, body); err != nil {
				return err
			}
		}
		if err := c.Send(order.Size); err != nil {
			return err
		}
	}
}
