// Package wire reads and writes RTSP/1.0 messages as they stand on the wire
// (RFC 2326 §4, §6, §7, §10.12): header order, case and unknown fields are kept.
//
// It accepts what real players and cameras send (bare LF, folded lines, empty
// reason phrases, blank lines between messages) and is strict about framing:
// where two readers could disagree on where a message ends, it is an error.
// It knows nothing of sessions, transports or connections.
package wire

import (
	"net/url"
	"strconv"
	"strings"
)

// A Field is one header line, its value trimmed and unfolded.
type Field struct{ Name, Value string }

// A Header is the fields in the order they came.
type Header []Field

// Get returns the first value of a field, "" if there is none. Names compare
// without case (RFC 2326 §4.2 by way of RFC 2068).
func (h Header) Get(name string) string {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			return f.Value
		}
	}
	return ""
}

// Count returns how many fields have that name.
func (h Header) Count(name string) (n int) {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) {
			n++
		}
	}
	return n
}

// Add appends a field.
func (h *Header) Add(name, value string) { *h = append(*h, Field{name, value}) }

// A Request is one request.
type Request struct {
	Method string
	URL    string // as it came: absolute, a path, or "*"
	Proto  string // "RTSP/1.0"
	Header Header
	Body   []byte
	Raw    []byte // the whole message, byte by byte
}

// Target parses the request's URL. "*" gives an empty URL.
func (r *Request) Target() (*url.URL, error) {
	if r.URL == "*" {
		return &url.URL{}, nil
	}
	return url.Parse(r.URL)
}

// A Response is one response.
type Response struct {
	Proto  string // "" means "RTSP/1.0"
	Code   int
	Phrase string // may be empty
	Header Header
	Body   []byte
	Raw    []byte // the whole message, byte by byte, if it was read
}

// A Frame is interleaved data (RFC 2326 §10.12). It is valid until the next
// message is read.
type Frame struct {
	Channel byte
	Payload []byte // at most 65535 bytes
}

// Append appends the request to b as it goes on the wire. Content-Length is
// added if there is a body and the header has none.
func (r *Request) Append(b []byte) []byte {
	b = append(b, r.Method...)
	b = append(b, ' ')
	b = append(b, r.URL...)
	b = append(b, " RTSP/1.0\r\n"...)
	return appendRest(b, r.Header, r.Body)
}

// Append appends the response to b as it goes on the wire. Content-Length is
// added if there is a body and the header has none.
func (r *Response) Append(b []byte) []byte {
	b = append(b, "RTSP/1.0 "...)
	b = strconv.AppendInt(b, int64(r.Code), 10)
	b = append(b, ' ')
	b = append(b, r.Phrase...)
	b = append(b, "\r\n"...)
	return appendRest(b, r.Header, r.Body)
}

func appendRest(b []byte, h Header, body []byte) []byte {
	for _, f := range h {
		b = append(b, f.Name...)
		b = append(b, ": "...)
		b = append(b, f.Value...)
		b = append(b, "\r\n"...)
	}
	if len(body) > 0 && h.Count("Content-Length") == 0 {
		b = append(b, "Content-Length: "...)
		b = strconv.AppendInt(b, int64(len(body)), 10)
		b = append(b, "\r\n"...)
	}
	b = append(b, "\r\n"...)
	return append(b, body...)
}
