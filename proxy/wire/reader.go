package wire

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// Bounds of one message, in bytes.
const (
	MaxLine   = 8 << 10 // one header line, or the first line
	MaxHeader = 32 << 10
	MaxBody   = 256 << 10
)

// ErrMalformed is wrapped by every error that says that the other side broke
// the protocol. After it the place of the next message is unknown: answer 400
// and close.
var ErrMalformed = errors.New("malformed RTSP")

// errVersion is an RTSP version other than 1.0 (RFC 2326 §7.1.1, 505).
var errVersion = fmt.Errorf("%w: version not supported", ErrMalformed)

// Code returns the status code that answers a reader's error: 400, or 505 for
// another version of RTSP.
func Code(err error) (int, string) {
	if errors.Is(err, errVersion) {
		return 505, "RTSP Version Not Supported"
	}
	return 400, "Bad Request"
}

// A Reader reads messages one after another. It is for one goroutine.
type Reader struct {
	br    *bufio.Reader
	raw   []byte // of the message being read
	frame Frame  // reused
}

// NewReader returns a Reader of br. Bytes behind the last message read stay in
// br.
func NewReader(br *bufio.Reader) *Reader { return &Reader{br: br} }

// Next reads a message: a *Request, a *Response or a *Frame. At the end between
// two messages the error is io.EOF, inside one io.ErrUnexpectedEOF.
func (r *Reader) Next() (any, error) {
	c, err := r.first()
	if err != nil {
		return nil, err
	}
	if c == '$' {
		return r.readFrame()
	}
	r.raw = nil
	line, err := r.line()
	if err != nil {
		return nil, noEOF(err)
	}
	msg, header, body, err := startLine(line)
	if err != nil {
		return nil, err
	}
	if *header, err = r.header(); err != nil {
		return nil, noEOF(err)
	}
	if *body, err = r.body(*header); err != nil {
		return nil, noEOF(err)
	}
	switch m := msg.(type) {
	case *Request:
		m.Raw = r.raw
	case *Response:
		m.Raw = r.raw
	}
	return msg, nil
}

// first skips blank lines before a message and peeks at its first byte. They
// are bounded by what may be in one header.
func (r *Reader) first() (byte, error) {
	for range MaxHeader {
		b, err := r.br.Peek(1)
		if err != nil {
			return 0, err
		}
		if b[0] != '\r' && b[0] != '\n' {
			return b[0], nil
		}
		r.br.Discard(1) //nolint:errcheck // it has just been peeked
	}
	return 0, fmt.Errorf("%w: endless blank lines", ErrMalformed)
}

func (r *Reader) readFrame() (*Frame, error) {
	h, err := r.br.Peek(4)
	if err != nil {
		return nil, noEOF(err)
	}
	channel, n := h[1], int(h[2])<<8|int(h[3])
	r.br.Discard(4) //nolint:errcheck // it has just been peeked
	if cap(r.frame.Payload) < n {
		r.frame.Payload = make([]byte, n)
	}
	r.frame = Frame{Channel: channel, Payload: r.frame.Payload[:n]}
	if _, err := io.ReadFull(r.br, r.frame.Payload); err != nil {
		return nil, noEOF(err)
	}
	return &r.frame, nil
}

// line reads up to LF and returns it without the line end.
func (r *Reader) line() ([]byte, error) {
	start := len(r.raw)
	for {
		part, err := r.br.ReadSlice('\n')
		r.raw = append(r.raw, part...)
		switch {
		case len(r.raw)-start > MaxLine:
			return nil, fmt.Errorf("%w: line over %d bytes", ErrMalformed, MaxLine)
		case errors.Is(err, bufio.ErrBufferFull):
			continue
		case err != nil:
			return nil, err
		}
		return bytes.TrimSuffix(r.raw[start:len(r.raw)-1], []byte("\r")), nil
	}
}

func startLine(line []byte) (msg any, h *Header, body *[]byte, err error) {
	s := string(line)
	if strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return nil, nil, nil, fmt.Errorf("%w: control byte in first line", ErrMalformed)
	}
	if strings.HasPrefix(s, "RTSP/") {
		return statusLine(s)
	}
	method, rest, ok := strings.Cut(s, " ")
	i := strings.LastIndexByte(rest, ' ')
	if !ok || i <= 0 || !isToken(method) {
		return nil, nil, nil, fmt.Errorf("%w: first line", ErrMalformed)
	}
	req := &Request{Method: method, URL: rest[:i], Proto: rest[i+1:]}
	if err := version(req.Proto); err != nil {
		return nil, nil, nil, err
	}
	if strings.Contains(req.URL, " ") {
		return nil, nil, nil, fmt.Errorf("%w: blank in URL", ErrMalformed)
	}
	return req, &req.Header, &req.Body, nil
}

func statusLine(s string) (msg any, h *Header, body *[]byte, err error) {
	proto, rest, _ := strings.Cut(s, " ")
	digits, phrase, _ := strings.Cut(rest, " ")
	code, err := strconv.ParseUint(digits, 10, 16)
	if err != nil || code < 100 || code > 999 {
		return nil, nil, nil, fmt.Errorf("%w: status line %.40q", ErrMalformed, s)
	}
	if err := version(proto); err != nil {
		return nil, nil, nil, err
	}
	res := &Response{Proto: proto, Code: int(code), Phrase: phrase}
	return res, &res.Header, &res.Body, nil
}

func version(proto string) error {
	switch {
	case proto == "RTSP/1.0":
		return nil
	case strings.HasPrefix(proto, "RTSP/"):
		return errVersion
	default:
		return fmt.Errorf("%w: protocol %.20q", ErrMalformed, proto)
	}
}

// header reads up to and including the empty line. A line that begins with a
// blank continues the one before (RFC 2326 §4.2 by way of RFC 2068 §4.2).
func (r *Reader) header() (Header, error) {
	var h Header
	start := len(r.raw)
	for {
		line, err := r.line()
		switch {
		case err != nil:
			return nil, err
		case len(line) == 0:
			return h, nil
		case len(r.raw)-start > MaxHeader:
			return nil, fmt.Errorf("%w: header over %d bytes", ErrMalformed, MaxHeader)
		case bytes.IndexByte(line, 0) >= 0 || bytes.IndexByte(line, '\r') >= 0:
			return nil, fmt.Errorf("%w: control byte in header", ErrMalformed)
		}
		if line[0] == ' ' || line[0] == '\t' {
			// To some readers a line of blanks ends the header, and a folded length is none.
			if len(h) == 0 || trim(line) == "" || strings.EqualFold(h[len(h)-1].Name, "Content-Length") {
				return nil, fmt.Errorf("%w: folded line", ErrMalformed)
			}
			h[len(h)-1].Value = strings.TrimLeft(h[len(h)-1].Value+" "+trim(line), " ")
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		if !ok || !isToken(string(name)) {
			return nil, fmt.Errorf("%w: header line", ErrMalformed)
		}
		h.Add(string(name), trim(value))
	}
}

// body reads what Content-Length says. No field means no body; two of them, or a
// Transfer-Encoding, would let two readers see two different messages.
func (r *Reader) body(h Header) ([]byte, error) {
	if h.Count("Transfer-Encoding") > 0 {
		return nil, fmt.Errorf("%w: Transfer-Encoding", ErrMalformed)
	}
	switch h.Count("Content-Length") {
	case 0:
		return nil, nil
	case 1:
	default:
		return nil, fmt.Errorf("%w: several Content-Lengths", ErrMalformed)
	}
	s := h.Get("Content-Length")
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil || s[0] == '+' {
		return nil, fmt.Errorf("%w: Content-Length %.20q", ErrMalformed, s)
	}
	if n > MaxBody {
		return nil, fmt.Errorf("%w: body of %d bytes", ErrMalformed, n)
	}
	start := len(r.raw)
	r.raw = append(r.raw, make([]byte, n)...)
	if _, err := io.ReadFull(r.br, r.raw[start:]); err != nil {
		return nil, err
	}
	return r.raw[start:], nil
}

func trim(b []byte) string { return strings.Trim(string(b), " \t") }

// isToken is RFC 2326 §15.1's token, loosely: no separators that frame a line.
func isToken(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(c rune) bool {
		return c <= ' ' || c >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, c)
	})
}

func noEOF(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
