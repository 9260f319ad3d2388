package codec

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
)

// Lists of numbers, in JSON and in MessagePack (github.com/msgpack/msgpack/blob/master/spec.md), without reflection.
// What these do not understand (a null, a nested list, another number format) is left to the general decoder.

type integer interface{ ~int | ~int64 }

func appendInts[T integer](b []byte, values []T) []byte {
	b = append(b, '[')
	for i, v := range values {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendInt(b, int64(v), 10)
	}
	return append(b, ']')
}

func appendFloats(b []byte, values []float64) ([]byte, error) {
	b = append(b, '[')
	for i, v := range values {
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return b, fmt.Errorf("JSON has no %v (element %d); MessagePack has", v, i)
		}
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendFloat(b, v, 'g', -1, 64)
	}
	return append(b, ']'), nil
}

// elements calls each with every element of a flat JSON list; false if it is not one.
func elements(body []byte, each func(text []byte) bool) bool {
	i, n := 0, len(body)
	space := func() {
		for i < n && (body[i] == ' ' || body[i] == '\t' || body[i] == '\n' || body[i] == '\r') {
			i++
		}
	}
	space()
	if i == n || body[i] != '[' {
		return false
	}
	i++
	space()
	if i < n && body[i] == ']' {
		i++
		space()
		return i == n
	}
	for {
		space()
		begin := i
		for i < n && (body[i] >= '0' && body[i] <= '9' || body[i] == '-' || body[i] == '+' || body[i] == '.' ||
			body[i] == 'e' || body[i] == 'E') {
			i++
		}
		if begin == i || !each(body[begin:i]) {
			return false
		}
		space()
		if i == n {
			return false
		}
		switch body[i] {
		case ',':
			i++
		case ']':
			i++
			space()
			return i == n
		default:
			return false
		}
	}
}

func parseInts[T integer](body []byte, into []T) ([]T, bool) {
	ok := elements(body, func(text []byte) bool {
		v, good := parseInt(text)
		into = append(into, T(v))
		return good
	})
	return into, ok
}

// parseInt reads a JSON integer of at most 18 digits.
func parseInt(text []byte) (int64, bool) {
	digits := text
	if text[0] == '-' {
		digits = text[1:]
	}
	if len(digits) == 0 || len(digits) > 18 || digits[0] == '0' && len(digits) > 1 {
		return 0, false
	}
	var v int64
	for _, c := range digits {
		if c < '0' || c > '9' {
			return 0, false
		}
		v = 10*v + int64(c-'0')
	}
	if text[0] == '-' {
		v = -v
	}
	return v, true
}

// isNumber is the grammar of JSON: -? (0 | [1-9] digits) (. digits)? ([eE] [+-]? digits)?
func isNumber(text []byte) bool {
	digits := func() bool {
		n := 0
		for n < len(text) && text[n] >= '0' && text[n] <= '9' {
			n++
		}
		text = text[n:]
		return n > 0
	}
	skip := func(c byte) bool {
		if len(text) > 0 && text[0] == c {
			text = text[1:]
			return true
		}
		return false
	}
	skip('-')
	if !skip('0') && !digits() {
		return false
	}
	if skip('.') && !digits() {
		return false
	}
	if skip('e') || skip('E') {
		_ = skip('+') || skip('-')
		if !digits() {
			return false
		}
	}
	return len(text) == 0
}

func parseFloats(body []byte, into []float64) ([]float64, bool) {
	ok := elements(body, func(text []byte) bool {
		if !isNumber(text) {
			return false // strconv takes more than JSON does
		}
		v, err := strconv.ParseFloat(string(text), 64)
		into = append(into, v)
		return err == nil
	})
	return into, ok
}

func packHead(b []byte, count int) []byte {
	switch {
	case count < 16:
		return append(b, 0x90|byte(count))
	case count < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 0xdc), uint16(count))
	}
	return binary.BigEndian.AppendUint32(append(b, 0xdd), uint32(count))
}

func packInts[T integer](b []byte, values []T) []byte {
	b = packHead(b, len(values))
	for _, value := range values {
		v := int64(value)
		switch {
		case v >= -32 && v < 128:
			b = append(b, byte(v))
		case v >= math.MinInt32 && v <= math.MaxInt32:
			b = binary.BigEndian.AppendUint32(append(b, 0xd2), uint32(v))
		default:
			b = binary.BigEndian.AppendUint64(append(b, 0xd3), uint64(v))
		}
	}
	return b
}

func packFloats(b []byte, values []float64) []byte {
	b = packHead(b, len(values))
	for _, v := range values {
		b = binary.BigEndian.AppendUint64(append(b, 0xcb), math.Float64bits(v))
	}
	return b
}

// unpackHead reads how many elements a list has, and what follows; a list cannot have more elements than bytes.
func unpackHead(body []byte) (int, []byte, bool) {
	count, size := 0, 1
	switch c := body[0]; {
	case c&0xf0 == 0x90:
		count = int(c & 0x0f)
	case c == 0xdc && len(body) >= 3:
		count, size = int(binary.BigEndian.Uint16(body[1:])), 3
	case c == 0xdd && len(body) >= 5:
		count, size = int(binary.BigEndian.Uint32(body[1:])), 5
	default:
		return 0, nil, false
	}
	return count, body[size:], count <= len(body)-size
}

func unpackInts[T integer](body []byte, into []T) ([]T, bool) {
	count, rest, ok := unpackHead(body)
	if !ok {
		return into, false
	}
	for range count {
		if len(rest) == 0 {
			return into, false
		}
		c, width, v := rest[0], 0, int64(0)
		switch {
		case c < 0x80 || c >= 0xe0:
			v = int64(int8(c))
		case c >= 0xcc && c <= 0xcf:
			width = 1 << (c - 0xcc)
		case c >= 0xd0 && c <= 0xd3:
			width = 1 << (c - 0xd0)
		default:
			return into, false
		}
		if len(rest) < 1+width {
			return into, false
		}
		for _, digit := range rest[1 : 1+width] {
			v = v<<8 | int64(digit)
		}
		if c == 0xcf && v < 0 {
			return into, false // more than an int64 holds: the general decoder says so
		}
		if c >= 0xd0 && c <= 0xd2 {
			shift := 64 - 8*width
			v = v << shift >> shift
		}
		into, rest = append(into, T(v)), rest[1+width:]
	}
	return into, len(rest) == 0
}

func unpackFloats(body []byte, into []float64) ([]float64, bool) {
	count, rest, ok := unpackHead(body)
	if !ok || len(rest) != 9*count {
		return into, false
	}
	for ; len(rest) > 0; rest = rest[9:] {
		if rest[0] != 0xcb {
			return into, false
		}
		into = append(into, math.Float64frombits(binary.BigEndian.Uint64(rest[1:])))
	}
	return into, true
}
