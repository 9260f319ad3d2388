package wire

import "slices"

const (
	shared = 64 * 1024
	first  = 1 << 20
)

// Received is one frame. Its body is the reader's own memory until the next call of Next, unless it is Owned.
type Received struct {
	Tag   Tag
	Body  []byte
	Owned bool
}

// Reader cuts a stream of bytes into frames. The caller asks where to put bytes (Buffer), puts some there, says how many
// (Received), and takes complete frames (Next). Small frames share one buffer; a large body is filled in place, in memory
// that grows with what has really come. After an error the stream has no known boundaries any more.
type Reader struct {
	// Spare is memory for the next large body, if it has the room; taken once.
	Spare []byte

	limit      int64
	allowed    Tags
	buffer     []byte
	start, end int
	tag        Tag
	size       int
	large      []byte
	filled     int
	inLarge    bool
}

// NewReader makes a reader that refuses bodies over limit and tags that are not allowed.
func NewReader(limit int64, allowed Tags) *Reader {
	return &Reader{limit: limit, allowed: allowed, buffer: make([]byte, shared)}
}

// Buffer is where the next bytes of the stream belong; never empty if Next has said that there is no frame.
func (r *Reader) Buffer() []byte {
	if r.inLarge {
		if r.filled == len(r.large) { // all that was promised so far has come: it may grow
			size := min(4*len(r.large), r.size)
			r.large = slices.Grow(r.large, size-len(r.large))[:size]
		}
		return r.large[r.filled:]
	}
	if r.start == r.end {
		r.start, r.end = 0, 0
	} else if r.end == len(r.buffer) || len(r.buffer)-r.end < HeaderSize {
		r.end = copy(r.buffer, r.buffer[r.start:r.end])
		r.start = 0
	}
	return r.buffer[r.end:]
}

// Received says that count bytes were put at the start of the last Buffer.
func (r *Reader) Received(count int) {
	if r.inLarge {
		r.filled += count
	} else {
		r.end += count
	}
}

// Next gives the next complete frame; false if more bytes are needed.
func (r *Reader) Next() (Received, bool, error) {
	if !r.inLarge {
		have := r.end - r.start
		if have < HeaderSize {
			return Received{}, false, nil
		}
		tag, size, err := ParseHeader(r.buffer[r.start:], r.allowed, r.limit)
		if err != nil {
			return Received{}, false, err
		}
		if size <= shared-HeaderSize {
			if have < HeaderSize+size {
				if r.start > 0 && r.start+HeaderSize+size > len(r.buffer) {
					r.end = copy(r.buffer, r.buffer[r.start:r.end])
					r.start = 0
				}
				return Received{}, false, nil
			}
			body := r.buffer[r.start+HeaderSize : r.start+HeaderSize+size]
			r.start += HeaderSize + size
			return Received{Tag: tag, Body: body}, true, nil
		}
		r.begin(tag, size)
	}
	if r.filled < r.size {
		return Received{}, false, nil
	}
	body := r.large
	r.large, r.inLarge = nil, false
	return Received{Tag: r.tag, Body: body, Owned: true}, true, nil
}

// begin starts a large body with what has come of it.
func (r *Reader) begin(tag Tag, size int) {
	r.start += HeaderSize
	r.tag, r.size, r.inLarge = tag, size, true
	if cap(r.Spare) >= size {
		r.large, r.Spare = r.Spare[:size], nil
	} else {
		r.large = make([]byte, min(size, first))
	}
	r.filled = copy(r.large, r.buffer[r.start:r.end])
	r.start, r.end = 0, 0
}

// End says what the end of the stream means here: nil between two frames.
func (r *Reader) End() error {
	switch {
	case r.inLarge:
		return &TruncatedFrameError{Missing: r.size - r.filled}
	case r.start == r.end:
		return nil
	case r.end-r.start < HeaderSize:
		return &TruncatedFrameError{Missing: HeaderSize - (r.end - r.start)}
	}
	_, size, _ := ParseHeader(r.buffer[r.start:], r.allowed, r.limit)
	return &TruncatedFrameError{Missing: HeaderSize + size - (r.end - r.start)}
}
