// Package codec turns values into the bodies of frames, and back. The codec of a frame is in its tag, so a receiver is
// never configured. Slices of numbers and bytes take ways of their own, without reflection.
package codec

import (
	"encoding/json"
	"errors"
	"fmt"
	"unicode/utf8"

	"github.com/vmihailenco/msgpack/v5"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

// EncodeError is a value that a codec cannot carry; the channel stays usable.
type EncodeError struct {
	Codec, Type string
	Err         error
}

func (e *EncodeError) Error() string {
	return fmt.Sprintf("a value of type %s cannot be sent as %s: %v", e.Type, e.Codec, e.Err)
}

// Unwrap gives the encoder's own error.
func (e *EncodeError) Unwrap() error { return e.Err }

// Append encodes v behind b. Raw bytes are not appended: they are given back as they are, to be sent from where they lie.
func Append(b []byte, v any, tag wire.Tag) (out, raw []byte, err error) {
	switch tag {
	case wire.JSON:
		out, err = appendJSON(b, v)
	case wire.MessagePack:
		out, err = appendMessagePack(b, v)
	case wire.Raw:
		switch v := v.(type) {
		case []byte:
			return b, v, nil
		case string:
			return append(b, v...), nil, nil
		}
		err = errors.New("only []byte and string are raw bytes")
	default:
		err = errors.New("there is no such codec")
	}
	if err != nil {
		return b, nil, &EncodeError{Codec: tag.String(), Type: fmt.Sprintf("%T", v), Err: err}
	}
	return out, nil, nil
}

// Choose is the tag for a value where none was asked for: bytes go raw, everything else as the channel's codec.
func Choose(v any, standard wire.Tag) wire.Tag {
	if _, ok := v.([]byte); ok {
		return wire.Raw
	}
	return standard
}

// Decode stores the value of a body in what into points to; nil drops it. A body that is owned may be kept.
func Decode(tag wire.Tag, body []byte, owned bool, into any) error {
	var err error
	switch tag {
	case wire.JSON:
		err = decodeJSON(body, into)
	case wire.MessagePack:
		err = decodeMessagePack(body, into)
	case wire.Raw:
		err = decodeRaw(body, owned, into)
	default:
		err = errors.New("it carries no value")
	}
	if err != nil {
		return &wire.DecodeError{Codec: tag.String(), Err: err}
	}
	return nil
}

func decodeRaw(body []byte, owned bool, into any) error {
	switch into := into.(type) {
	case nil:
	case *[]byte:
		*into = keep(body, owned, *into)
	case *any:
		*into = keep(body, owned, nil)
	case *string:
		*into = string(body)
	default:
		return fmt.Errorf("raw bytes do not fit %T; use *[]byte", into)
	}
	return nil
}

func keep(body []byte, owned bool, old []byte) []byte {
	if owned {
		return body
	}
	return append(old[:0], body...)
}

func appendJSON(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(b, "null"...), nil
	case json.RawMessage:
		if !json.Valid(v) {
			return b, errors.New("it is no valid JSON")
		}
		return append(b, v...), nil
	case []int:
		return appendInts(b, v), nil
	case []int64:
		return appendInts(b, v), nil
	case []float64:
		return appendFloats(b, v)
	}
	body, err := json.Marshal(v)
	return append(b, body...), err
}

func decodeJSON(body []byte, into any) error {
	if !utf8.Valid(body) {
		return errors.New("it is not UTF-8")
	}
	switch into := into.(type) {
	case nil:
		if !json.Valid(body) {
			return errors.New("it is no valid JSON")
		}
		return nil
	case *[]int:
		if parsed, ok := parseInts(body, (*into)[:0]); ok {
			*into = parsed
			return nil
		}
	case *[]int64:
		if parsed, ok := parseInts(body, (*into)[:0]); ok {
			*into = parsed
			return nil
		}
	case *[]float64:
		if parsed, ok := parseFloats(body, (*into)[:0]); ok {
			*into = parsed
			return nil
		}
	}
	return json.Unmarshal(body, into)
}

func appendMessagePack(b []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case Encoded:
		return append(b, v...), wellFormed(v)
	case []int:
		return packInts(b, v), nil
	case []int64:
		return packInts(b, v), nil
	case []float64:
		return packFloats(b, v), nil
	}
	body, err := msgpack.Marshal(v)
	return append(b, body...), err
}

func decodeMessagePack(body []byte, into any) error {
	if err := wellFormed(body); err != nil {
		return err
	}
	switch into := into.(type) {
	case nil:
		return nil
	case *[]int:
		if parsed, ok := unpackInts(body, (*into)[:0]); ok {
			*into = parsed
			return nil
		}
	case *[]int64:
		if parsed, ok := unpackInts(body, (*into)[:0]); ok {
			*into = parsed
			return nil
		}
	case *[]float64:
		if parsed, ok := unpackFloats(body, (*into)[:0]); ok {
			*into = parsed
			return nil
		}
	}
	return msgpack.Unmarshal(body, into)
}

// Encoded is a MessagePack value that is bytes already.
type Encoded []byte
