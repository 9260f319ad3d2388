package wire

import (
	"encoding/json"
	"errors"
	"fmt"
)

// Protocol is the version of the wire that this side speaks.
const Protocol = 2

// Hello is who is speaking. Lengths are bytes, times seconds.
type Hello struct {
	Kind            string  `json:"kind"`
	Role            string  `json:"role"`
	Name            string  `json:"name"`
	Ticket          string  `json:"ticket"`
	Listen          string  `json:"listen"`
	FrameLimit      int64   `json:"frame_limit"`
	KeepAlive       float64 `json:"keepalive_s"`
	Protocol        int     `json:"protocol"`
	Version         string  `json:"parcs"`
	Language        string  `json:"language"`
	LanguageVersion string  `json:"language_version"`
	Node            string  `json:"node,omitempty"`
}

// Message is any control message; which fields it has depends on its kind.
type Message struct {
	Kind    string `json:"kind"`
	Reason  string `json:"reason,omitempty"`
	Ticket  string `json:"ticket,omitempty"`
	Name    string `json:"name,omitempty"`
	Dial    string `json:"dial,omitempty"`
	Backlog int    `json:"backlog,omitempty"`
}

var kinds = map[string]bool{
	"hello": true, "refused": true, "bye": true, "attach": true, "moving": true, "moved": true, "channel": true,
}

// ControlFrame is a control message, ready to send.
func ControlFrame(message any) []byte {
	body, err := json.Marshal(message)
	if err != nil {
		panic(err) // a struct of strings and numbers
	}
	return Frame(Control, body)
}

// ParseControl reads the body of a control frame.
func ParseControl(body []byte) (Message, error) {
	var m Message
	if err := unmarshalObject(body, &m); err != nil {
		return m, &DecodeError{Codec: "control", Err: err}
	}
	if !kinds[m.Kind] {
		return m, &DecodeError{Codec: "control", Err: fmt.Errorf("there is no kind %q", m.Kind)}
	}
	return m, nil
}

func unmarshalObject(body []byte, into any) error {
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(body, &fields); err != nil {
		return err
	}
	if fields == nil {
		return errors.New("it is no object")
	}
	return json.Unmarshal(body, into)
}

// parseHello reads a peer's hello; every field but node has to be there.
func parseHello(body []byte) (*Hello, error) {
	var fields struct {
		Role            *string  `json:"role"`
		Name            *string  `json:"name"`
		Ticket          *string  `json:"ticket"`
		Listen          *string  `json:"listen"`
		FrameLimit      *int64   `json:"frame_limit"`
		KeepAlive       *float64 `json:"keepalive_s"`
		Version         *string  `json:"parcs"`
		Language        *string  `json:"language"`
		LanguageVersion *string  `json:"language_version"`
		Node            string   `json:"node"`
	}
	var which struct {
		Protocol json.RawMessage `json:"protocol"`
		Version  json.RawMessage `json:"parcs"`
	}
	if err := json.Unmarshal(body, &which); err != nil {
		return nil, handshakeError("the peer's hello cannot be read: %v", err)
	}
	if string(which.Protocol) != "2" {
		return nil, &VersionMismatchError{Reason: fmt.Sprintf(
			"the peer (PARCS %s) speaks protocol %s and this side speaks %d; install the same PARCS on both sides",
			which.Version, which.Protocol, Protocol)}
	}
	if err := json.Unmarshal(body, &fields); err != nil {
		return nil, handshakeError("the peer's hello cannot be read: %v", err)
	}
	f := fields
	if f.Role == nil || f.Name == nil || f.Ticket == nil || f.Listen == nil || f.FrameLimit == nil ||
		f.KeepAlive == nil || f.Version == nil || f.Language == nil || f.LanguageVersion == nil {
		return nil, handshakeError("the peer's hello lacks a field: %.300s", body)
	}
	if *f.FrameLimit < 1 || *f.KeepAlive < 0 || *f.KeepAlive >= 86400 {
		return nil, handshakeError("the peer's hello has limits that make no sense")
	}
	return &Hello{
		Kind: "hello", Role: *f.Role, Name: *f.Name, Ticket: *f.Ticket, Listen: *f.Listen, FrameLimit: *f.FrameLimit,
		KeepAlive: *f.KeepAlive, Protocol: Protocol, Version: *f.Version, Language: *f.Language,
		LanguageVersion: *f.LanguageVersion, Node: f.Node,
	}, nil
}
