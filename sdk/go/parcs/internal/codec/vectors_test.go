package codec

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"reflect"
	"testing"

	"github.com/parcs-project/parcs/sdk/go/parcs/internal/wire"
)

type vector struct {
	Name    string
	Bytes   string
	Tag     int
	Value   json.RawMessage
	Body    *string
	Limit   int64
	Version int
	Error   string
}

func load(t *testing.T) (frames, bad []vector) {
	t.Helper()
	data, err := os.ReadFile("../../../../../protocol/vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	var all struct {
		Frames []vector
		Bad    []vector `json:"bad_streams"`
	}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	return all.Frames, all.Bad
}

// read cuts a stream, fed in pieces, into frames, and decodes them; gives the first error.
func read(stream []byte, piece int, limit int64, allowed wire.Tags) (found []wire.Received, err error) {
	r := wire.NewReader(limit, allowed)
	for {
		frame, ok, err := r.Next()
		switch {
		case err != nil:
			return found, err
		case ok:
			frame.Body = bytes.Clone(frame.Body)
			found = append(found, frame)
			if err := check(frame); err != nil {
				return found, err
			}
		case len(stream) == 0:
			return found, r.End()
		default:
			room := r.Buffer()
			if len(room) == 0 {
				return found, errors.New("no room")
			}
			n := copy(room[:min(len(room), piece)], stream)
			stream = stream[n:]
			r.Received(n)
		}
	}
}

func check(frame wire.Received) error {
	switch frame.Tag {
	case wire.JSON, wire.MessagePack, wire.Raw:
		var v any
		return Decode(frame.Tag, frame.Body, false, &v)
	case wire.Control:
		_, err := wire.ParseControl(frame.Body)
		return err
	}
	return nil
}

func kindOf(err error) string {
	var a *wire.UnknownTagError
	var b *wire.FrameTooLargeError
	var c *wire.TruncatedFrameError
	var d *wire.DecodeError
	switch {
	case errors.As(err, &a):
		return "UnknownTagError"
	case errors.As(err, &b):
		return "FrameTooLargeError"
	case errors.As(err, &c):
		return "TruncatedFrameError"
	case errors.As(err, &d):
		return "DecodeError"
	}
	return fmt.Sprint(err)
}

var pieces = []int{1, 5, 1 << 20}

func TestFrames(t *testing.T) {
	frames, _ := load(t)
	for _, v := range frames {
		if wire.Tag(v.Tag) == wire.Pickle {
			continue // Python's own
		}
		stream, _ := hex.DecodeString(v.Bytes)
		for _, piece := range pieces {
			t.Run(v.Name, func(t *testing.T) {
				found, err := read(stream, piece, 1<<30, wire.TagsV2)
				if err != nil || len(found) != 1 || found[0].Tag != wire.Tag(v.Tag) {
					t.Fatalf("%v %v", found, err)
				}
				body := found[0].Body
				if v.Body != nil {
					if want, _ := hex.DecodeString(*v.Body); !bytes.Equal(body, want) {
						t.Fatalf("body %x, want %x", body, want)
					}
					return
				}
				if tag := found[0].Tag; tag == wire.JSON || tag == wire.Control || tag == wire.Error {
					sameJSON(t, body, v.Value)
				}
			})
		}
	}
}

func sameJSON(t *testing.T, got, want []byte) {
	t.Helper()
	var a, b any
	if json.Unmarshal(got, &a) != nil || json.Unmarshal(want, &b) != nil || !reflect.DeepEqual(a, b) {
		t.Fatalf("got %s, want %s", got, want)
	}
}

func TestBadStreams(t *testing.T) {
	_, bad := load(t)
	for _, v := range bad {
		stream, _ := hex.DecodeString(v.Bytes)
		want := v.Error
		if len(stream) > 0 && wire.Tag(stream[0]) == wire.Pickle {
			want = "UnknownTagError" // only Python looks inside
		}
		allowed := wire.TagsV2
		if v.Version == 1 {
			allowed = wire.TagsV1
		}
		for _, piece := range pieces {
			t.Run(v.Name, func(t *testing.T) {
				_, err := read(stream, piece, v.Limit, allowed)
				if kindOf(err) != want {
					t.Fatalf("got %v, want %s", err, want)
				}
			})
		}
	}
}

func TestLargeBodiesGrowWithWhatComes(t *testing.T) {
	r := wire.NewReader(1<<40, wire.TagsV2)
	header := make([]byte, wire.HeaderSize)
	wire.PutHeader(header, wire.Raw, 1<<39)
	r.Received(copy(r.Buffer(), header))
	if _, ok, err := r.Next(); ok || err != nil {
		t.Fatal(ok, err)
	}
	if room := len(r.Buffer()); room > 4<<20 {
		t.Fatalf("%d bytes were made ready for a promise", room)
	}
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<18) // 4 MiB, and something behind it
	stream := append(wire.Frame(wire.Raw, body), wire.Frame(wire.JSON, []byte("1"))...)
	for _, piece := range []int{1 << 12, 99_991, 1 << 30} {
		found, err := read(stream, piece, 1<<30, wire.TagsV2)
		if err != nil || len(found) != 2 || !bytes.Equal(found[0].Body, body) {
			t.Fatal(len(found), err)
		}
	}
}

func TestNumbersTakeTheShortWay(t *testing.T) {
	ints := []int{0, 1, -1, 127, 128, -32, -33, 255, 65536, -40000, math.MaxInt32, math.MinInt64, math.MaxInt64}
	floats := []float64{0, -1.5, 1e300, 5e-324, math.Pi}
	for _, tag := range []wire.Tag{wire.JSON, wire.MessagePack} {
		body, _, err := Append(nil, ints, tag)
		if err != nil {
			t.Fatal(err)
		}
		var back []int
		var general []int64
		if err := Decode(tag, body, false, &back); err != nil || !reflect.DeepEqual(ints, back) {
			t.Fatal(tag, back, err)
		}
		if err := Decode(tag, body, false, &general); err != nil || general[12] != math.MaxInt64 {
			t.Fatal(tag, general, err)
		}
		body, _, err = Append(nil, floats, tag)
		var found []float64
		if err != nil || Decode(tag, body, false, &found) != nil || !reflect.DeepEqual(floats, found) {
			t.Fatal(tag, found, err)
		}
		var loose any
		if err := Decode(tag, body, false, &loose); err != nil || len(loose.([]any)) != len(floats) {
			t.Fatal(tag, loose, err)
		}
	}
}

func TestWhatOthersWriteIsRead(t *testing.T) {
	for text, want := range map[string][]int{"[]": {}, " [ 1 ,\n2 ] ": {1, 2}, "[1e2]": nil, "[01]": nil, "[1,]": nil, "[1": nil, "[-]": nil} {
		var got []int
		err := Decode(wire.JSON, []byte(text), false, &got)
		if want == nil && text != "[1e2]" && err == nil {
			t.Errorf("%s was read as %v", text, got)
		}
		if want != nil && (err != nil || len(got) != len(want)) {
			t.Errorf("%s: %v %v", text, got, err)
		}
	}
	var got []float64
	if err := Decode(wire.JSON, []byte("[1, 2.5, -3e2]"), false, &got); err != nil || got[2] != -300 {
		t.Error(got, err)
	}
	if _, _, err := Append(nil, math.NaN(), wire.JSON); err == nil {
		t.Error("NaN went as JSON")
	}
	if _, _, err := Append(nil, make(chan int), wire.JSON); err == nil {
		t.Error("a channel of Go went as JSON")
	}
}

func FuzzNumbers(f *testing.F) {
	f.Add([]byte("[1, 2]"))
	f.Add([]byte("\x93\x01\xcc\x80\xd0\x80"))
	f.Fuzz(func(t *testing.T, body []byte) {
		var fast []int64
		var slow any
		if ints, ok := parseInts(body, fast); ok {
			if err := json.Unmarshal(body, &slow); err != nil || len(slow.([]any)) != len(ints) {
				t.Fatalf("%q: %v, but %v", body, ints, err)
			}
		}
		if floats, ok := parseFloats(body, nil); ok {
			if err := json.Unmarshal(body, &slow); err != nil || len(slow.([]any)) != len(floats) {
				t.Fatalf("%q: %v, but %v", body, floats, err)
			}
		}
		if len(body) > 0 {
			_ = Decode(wire.MessagePack, body, false, &fast)
			_ = Decode(wire.MessagePack, body, false, &slow)
		}
	})
}
