package wire

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func reader(in string) *Reader { return NewReader(bufio.NewReader(strings.NewReader(in))) }

// show is a message on one line: what was read, not how it stood on the wire.
func show(m any) string {
	var first string
	var h Header
	var body []byte
	switch m := m.(type) {
	case *Request:
		first, h, body = fmt.Sprintf("%s %s %s", m.Method, m.URL, m.Proto), m.Header, m.Body
	case *Response:
		first, h, body = fmt.Sprintf("%s %d %s", m.Proto, m.Code, m.Phrase), m.Header, m.Body
	case *Frame:
		return fmt.Sprintf("$%d %q", m.Channel, m.Payload)
	}
	for _, f := range h {
		first += fmt.Sprintf("|%s=%s", f.Name, f.Value)
	}
	if len(body) > 0 {
		first += fmt.Sprintf("|%q", body)
	}
	return first
}

func TestReaderAccepts(t *testing.T) {
	f := func(in, want string) {
		t.Helper()
		for name, r := range map[string]io.Reader{"whole": strings.NewReader(in), "byte by byte": iotest.OneByteReader(strings.NewReader(in))} {
			m, err := NewReader(bufio.NewReaderSize(r, 16)).Next()
			if got := show(m); err != nil || got != want {
				t.Errorf("%.80q, %s: %q, %v, want %q", in, name, got, err, want)
			}
		}
	}
	f("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "OPTIONS * RTSP/1.0|CSeq=1")
	f("DESCRIBE rtsp://h/a RTSP/1.0\r\n\r\n", "DESCRIBE rtsp://h/a RTSP/1.0")
	f("DESCRIBE /a RTSP/1.0\r\n\r\n", "DESCRIBE /a RTSP/1.0")
	f("DESCRIBE rtsp://h/tür RTSP/1.0\r\n\r\n", "DESCRIBE rtsp://h/tür RTSP/1.0")
	f("X-MINE rtsp://h/a RTSP/1.0\r\n\r\n", "X-MINE rtsp://h/a RTSP/1.0")
	f("\r\n\n\r\nOPTIONS * RTSP/1.0\r\n\r\n", "OPTIONS * RTSP/1.0")                        // blank lines between messages
	f("OPTIONS * RTSP/1.0\nCSeq: 1\n\n", "OPTIONS * RTSP/1.0|CSeq=1")                      // bare LF
	f("OPTIONS * RTSP/1.0\r\nCSeq: 1\n\r\n", "OPTIONS * RTSP/1.0|CSeq=1")                  // mixed
	f("OPTIONS * RTSP/1.0\r\nCSeq:1\r\n\r\n", "OPTIONS * RTSP/1.0|CSeq=1")                 // no blank
	f("OPTIONS * RTSP/1.0\r\ncSEQ: \t 1 \t\r\n\r\n", "OPTIONS * RTSP/1.0|cSEQ=1")          // case kept, value trimmed
	f("OPTIONS * RTSP/1.0\r\nA: 1\r\nA: 2\r\nB:\r\n\r\n", "OPTIONS * RTSP/1.0|A=1|A=2|B=") // twice; empty
	f("OPTIONS * RTSP/1.0\r\nA: 1,\r\n 2,\r\n\t3\r\n\r\n", "OPTIONS * RTSP/1.0|A=1, 2, 3") // folded
	f("OPTIONS * RTSP/1.0\r\nA:\r\n 1\r\n\r\n", "OPTIONS * RTSP/1.0|A=1")                  // folded from the start
	f("OPTIONS * RTSP/1.0\r\nA: b: c\r\n\r\n", "OPTIONS * RTSP/1.0|A=b: c")                // colon in a value
	f("OPTIONS * RTSP/1.0\r\nA: \xff\x01\r\n\r\n", "OPTIONS * RTSP/1.0|A=\xff\x01")        // unknown bytes kept
	f("RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", "RTSP/1.0 200 OK|CSeq=1")                      //
	f("RTSP/1.0 200\r\n\r\n", "RTSP/1.0 200 ")                                             // no phrase
	f("RTSP/1.0 200 \r\n\r\n", "RTSP/1.0 200 ")                                            // empty phrase
	f("RTSP/1.0 453 Not Enough Bandwidth\r\n\r\n", "RTSP/1.0 453 Not Enough Bandwidth")    //
	f("RTSP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabcd", `RTSP/1.0 200 OK|Content-Length=3|"abc"`)
	f("ANNOUNCE * RTSP/1.0\r\ncontent-length: 2\r\n\r\n\r\n", `ANNOUNCE * RTSP/1.0|content-length=2|"\r\n"`)
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 0\r\n\r\n", "OPTIONS * RTSP/1.0|Content-Length=0")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 007\r\n\r\n1234567", `OPTIONS * RTSP/1.0|Content-Length=007|"1234567"`)
	f("$\x00\x00\x00", `$0 ""`)
	f("$\x01\x00\x03abcd", `$1 "abc"`)
	f("$\xff\x00\x02\r\n", `$255 "\r\n"`)
	f("\r\n$\x01\x00\x01$", `$1 "$"`)
}

func TestReaderRefuses(t *testing.T) {
	f := func(in string) {
		t.Helper()
		m, err := reader(in).Next()
		if !errors.Is(err, ErrMalformed) || m != nil {
			t.Errorf("%.80q: %q, %v, want ErrMalformed", in, show(m), err)
		}
	}
	f("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	f("OPTIONS *\r\n\r\n")
	f("OPTIONS\r\n\r\n")
	f("OPTIONS  RTSP/1.0\r\n\r\n")
	f("OPTIONS  * RTSP/1.0\r\n\r\n")
	f("OPTIONS * RTSP/1.0 \r\n\r\n")
	f(" OPTIONS * RTSP/1.0\r\n\r\n")
	f("OPTIONS\t*\tRTSP/1.0\r\n\r\n")
	f("OPT(IONS * RTSP/1.0\r\n\r\n")
	f("OPTIÖNS * RTSP/1.0\r\n\r\n")
	f("OPTIONS rtsp://h/a b RTSP/1.0\r\n\r\n")
	f("OPTIONS rtsp://h/\x00 RTSP/1.0\r\n\r\n")
	f("OPTIONS rtsp://h/\r RTSP/1.0\r\n\r\n")
	f("OPTIONS rtsp://h/\x7f RTSP/1.0\r\n\r\n")
	f("OPTIONS * rtsp/1.0\r\n\r\n")
	f("OPTIONS * RTSP/2.0\r\n\r\n")
	f("RTSP/2.0 200 OK\r\n\r\n")
	f("RTSP/1.0\r\n\r\n")
	f("RTSP/1.0 OK\r\n\r\n")
	f("RTSP/1.0 99 Low\r\n\r\n")
	f("RTSP/1.0 1000 High\r\n\r\n")
	f("RTSP/1.0 +200 OK\r\n\r\n")
	f("RTSP/1.0 -200 OK\r\n\r\n")
	f("RTSP/1.0  200 OK\r\n\r\n")
	f("\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n") // TLS on a plain port
	// Fields.
	f("OPTIONS * RTSP/1.0\r\nCSeq\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\n: 1\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nC Seq: 1\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nCSeq : 1\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\n folded: 1\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nA: 1\x00\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nA: 1\rB: 2\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nA: 1\r\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nA: 1\r\n \r\n\r\n") // for some readers the end of the header
	f("OPTIONS * RTSP/1.0\r\nA: 1\r\n\t\r\n\r\n")
	// Framing.
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 3\r\ncontent-length: 0\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 3, 3\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length:\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: +3\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: -1\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 0x3\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 3 \v\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length:\r\n 3\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 1\r\n 2\r\n\r\nabc")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 262145\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 99999999999999999999\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 0\r\ntransfer-encoding: identity\r\n\r\n")
	// Bounds.
	f("OPTIONS rtsp://h/" + strings.Repeat("a", MaxLine) + " RTSP/1.0\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\nA: " + strings.Repeat("a", MaxLine) + "\r\n\r\n")
	f("OPTIONS * RTSP/1.0\r\n" + strings.Repeat("A: "+strings.Repeat("a", 1000)+"\r\n", 33) + "\r\n")
	f(strings.Repeat("\r\n", MaxHeader))
	f(strings.Repeat("A", 2*MaxLine)) // no line end at all
}

func TestReaderEnds(t *testing.T) {
	f := func(in string, want error) {
		t.Helper()
		r := reader("OPTIONS * RTSP/1.0\r\n\r\n" + in)
		if _, err := r.Next(); err != nil {
			t.Fatal(err)
		}
		if m, err := r.Next(); err != want {
			t.Errorf("end after %q: %q, %v, want %v", in, show(m), err, want)
		}
	}
	f("", io.EOF)
	f("\r\n\r\n", io.EOF)
	f("O", io.ErrUnexpectedEOF)
	f("OPTIONS * RTSP/1.0\r\n", io.ErrUnexpectedEOF)
	f("OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n", io.ErrUnexpectedEOF)
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 2\r\n\r\n", io.ErrUnexpectedEOF)
	f("OPTIONS * RTSP/1.0\r\nContent-Length: 2\r\n\r\na", io.ErrUnexpectedEOF)
	f("$", io.ErrUnexpectedEOF)
	f("$\x00\x00", io.ErrUnexpectedEOF)
	f("$\x00\x00\x02", io.ErrUnexpectedEOF)
	f("$\x00\x00\x02a", io.ErrUnexpectedEOF)
}

func TestReaderPassesOnErrors(t *testing.T) {
	broken := errors.New("broken")
	in := io.MultiReader(strings.NewReader("OPTIONS * RTSP/1.0\r\nCS"), iotest.ErrReader(broken))
	if _, err := NewReader(bufio.NewReader(in)).Next(); !errors.Is(err, broken) || errors.Is(err, ErrMalformed) {
		t.Errorf("error = %v, want that of the connection", err)
	}
}

func TestReaderMixedMessages(t *testing.T) {
	r := reader("PLAY * RTSP/1.0\r\nCSeq: 4\r\n\r\n$\x00\x00\x04long$\x01\x00\x01s\r\nRTSP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n$$\x02\x00\x00")
	for _, want := range []string{"PLAY * RTSP/1.0|CSeq=4", `$0 "long"`, `$1 "s"`, `RTSP/1.0 200 OK|Content-Length=1|"$"`, `$2 ""`} {
		if m, err := r.Next(); err != nil || show(m) != want {
			t.Errorf("message = %q, %v, want %q", show(m), err, want)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("at the end: %v, want EOF", err)
	}
}

func TestReaderLeavesTheRest(t *testing.T) {
	br := bufio.NewReader(strings.NewReader("OPTIONS * RTSP/1.0\r\n\r\nrest"))
	if _, err := NewReader(br).Next(); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(br); err != nil || string(rest) != "rest" {
		t.Errorf("rest = %q, %v", rest, err)
	}
}

func TestRaw(t *testing.T) {
	f := func(in string) {
		t.Helper()
		m, err := reader("\r\n" + in + "$").Next()
		if err != nil {
			t.Fatalf("%q: %v", in, err)
		}
		var raw []byte
		switch m := m.(type) {
		case *Request:
			raw = m.Raw
		case *Response:
			raw = m.Raw
		}
		if string(raw) != in {
			t.Errorf("Raw = %q, want %q", raw, in)
		}
	}
	f("OPTIONS * RTSP/1.0\ncSeQ:1\n\n")
	f("OPTIONS * RTSP/1.0\r\nA:  1\r\n\t2\r\n\r\n")
	f("RTSP/1.0 200\r\nContent-Length: 2\r\n\r\n\r\n")
}

func TestCode(t *testing.T) {
	f := func(in string, want int) {
		t.Helper()
		_, err := reader(in).Next()
		if got, phrase := Code(err); got != want || phrase == "" {
			t.Errorf("%q: %v is answered %d %q, want %d", in, err, got, phrase, want)
		}
	}
	f("OPTIONS * RTSP/2.0\r\n\r\n", 505)
	f("GET / HTTP/1.1\r\n\r\n", 400)
	f("garbage\r\n", 400)
}
