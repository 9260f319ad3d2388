package codec

import (
	"encoding/binary"
	"errors"
)

const deepest = 1000

var errMalformed = errors.New("it is no well-formed MessagePack")

// wellFormed walks a body once, without allocating: the decoder believes what a list says of its length, and would
// allocate it. Formats: github.com/msgpack/msgpack/blob/master/spec.md.
func wellFormed(body []byte) error {
	rest, err := skip(body, 0)
	if err == nil && len(rest) > 0 {
		err = errors.New("there is something behind the value")
	}
	return err
}

// skip gives what follows the first value.
func skip(b []byte, depth int) ([]byte, error) {
	if len(b) == 0 || depth > deepest {
		return nil, errMalformed
	}
	c := b[0]
	switch {
	case c < 0x80 || c >= 0xe0 || c == 0xc0 || c == 0xc2 || c == 0xc3: // small integers, nil, booleans
		return b[1:], nil
	case c < 0x90:
		return skipMany(b[1:], 2*int(c&0x0f), depth)
	case c < 0xa0:
		return skipMany(b[1:], int(c&0x0f), depth)
	case c < 0xc0:
		return past(b, 1, int(c&0x1f))
	}
	switch c {
	case 0xc4, 0xd9: // bin 8, str 8
		return sized(b, 1, 0)
	case 0xc5, 0xda:
		return sized(b, 2, 0)
	case 0xc6, 0xdb:
		return sized(b, 4, 0)
	case 0xc7: // ext 8: a type follows the length
		return sized(b, 1, 1)
	case 0xc8:
		return sized(b, 2, 1)
	case 0xc9:
		return sized(b, 4, 1)
	case 0xcc, 0xd0:
		return past(b, 1, 1)
	case 0xcd, 0xd1:
		return past(b, 1, 2)
	case 0xca, 0xce, 0xd2:
		return past(b, 1, 4)
	case 0xcb, 0xcf, 0xd3:
		return past(b, 1, 8)
	case 0xd4, 0xd5, 0xd6, 0xd7, 0xd8: // fixext
		return past(b, 2, 1<<(c-0xd4))
	case 0xdc, 0xde:
		return counted(b, 2, int(c-0xdc)/2+1, depth)
	case 0xdd, 0xdf:
		return counted(b, 4, int(c-0xdd)/2+1, depth)
	}
	return nil, errMalformed
}

func past(b []byte, head, size int) ([]byte, error) {
	if len(b) < head+size {
		return nil, errMalformed
	}
	return b[head+size:], nil
}

func number(b []byte, width int) (int, bool) {
	if len(b) < 1+width {
		return 0, false
	}
	switch width {
	case 1:
		return int(b[1]), true
	case 2:
		return int(binary.BigEndian.Uint16(b[1:])), true
	}
	return int(binary.BigEndian.Uint32(b[1:])), true
}

func sized(b []byte, width, more int) ([]byte, error) {
	size, ok := number(b, width)
	if !ok {
		return nil, errMalformed
	}
	return past(b, 1+width, size+more)
}

func counted(b []byte, width, each, depth int) ([]byte, error) {
	count, ok := number(b, width)
	if !ok || count > len(b) {
		return nil, errMalformed
	}
	return skipMany(b[1+width:], each*count, depth)
}

func skipMany(b []byte, count, depth int) ([]byte, error) {
	var err error
	for i := 0; i < count && err == nil; i++ {
		b, err = skip(b, depth+1)
	}
	return b, err
}
