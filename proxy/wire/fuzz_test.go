package wire

import (
	"bufio"
	"strings"
	"testing"
)

// FuzzReader: nothing panics, every byte belongs to a message or is a line end
// between two, and what is written as it was read is read the same.
func FuzzReader(f *testing.F) {
	for _, s := range []string{
		"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nRequire: a\r\nRequire: b\r\n\r\n",
		"\r\n\nSETUP rtsp://h:554/a/trackID=0 RTSP/1.0\nCSeq:2\nTransport: RTP/AVP/TCP;unicast;\n interleaved=0-1\n\n",
		"ANNOUNCE rtsp://h/a RTSP/1.0\r\nContent-Length: 5\r\n\r\nv=0\r\nOPTIONS * RTSP/1.0\r\n\r\n",
		"RTSP/1.0 200 OK\r\nCSeq: 1\r\nContent-Length: 0\r\n\r\n$\x00\x00\x02ab$\x01\x00\x00RTSP/1.0 404\r\n\r\n",
		"OPTIONS * RTSP/1.0\r\nA:\r\n b\r\n \r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\nx",
		"OPTIONS * RTSP/1.0\r\nContent-Length:\r\n 1\r\n\r\nx",
		"OPTIONS * RTSP/2.0\r\n\r\n", "GET / HTTP/1.1\r\n\r\n", "$", "$\xff\xff\xff", "RTSP/1.0 \r\n\r\n", "\x00",
		strings.Repeat("A: b\r\n", 100),
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		in := strings.NewReader(string(data))
		br := bufio.NewReaderSize(in, 64)
		r := NewReader(br)
		at := 0
		for {
			m, err := r.Next()
			if err != nil {
				return
			}
			end := len(data) - in.Len() - br.Buffered()
			raw := rawOf(m)
			if skipped, _ := strings.CutSuffix(string(data[at:end]), raw); strings.Trim(skipped, "\r\n") != "" || len(skipped)+len(raw) != end-at {
				t.Fatalf("%q was read as %q", data[at:end], raw)
			}
			at = end
			sameAgain(t, m)
		}
	})
}

func rawOf(m any) string {
	switch m := m.(type) {
	case *Request:
		return string(m.Raw)
	case *Response:
		return string(m.Raw)
	case *Frame:
		n := len(m.Payload)
		return string([]byte{'$', m.Channel, byte(n >> 8), byte(n)}) + string(m.Payload)
	}
	return ""
}

func sameAgain(t *testing.T, m any) {
	t.Helper()
	var b []byte
	switch m := m.(type) {
	case *Request:
		b = m.Append(nil)
	case *Response:
		b = m.Append(nil)
	default:
		return
	}
	again, err := reader(string(b)).Next()
	if err != nil && len(b) > MaxLine {
		return // what fits when folded may not fit one line
	}
	if err != nil {
		t.Fatalf("%q, written as %q: %v", rawOf(m), b, err)
	}
	if show(again) != show(m) {
		t.Errorf("%q, written as %q, is read as %q", show(m), b, show(again))
	}
}

func BenchmarkNext(b *testing.B) {
	const setup = "SETUP rtsp://edge.example:8554/live/camera-17/trackID=1 RTSP/1.0\r\nCSeq: 4\r\n" +
		"User-Agent: LibVLC/3.0.20 (LIVE555 Streaming Media v2016.11.28)\r\n" +
		"Transport: RTP/AVP/TCP;unicast;interleaved=2-3\r\nSession: 12345678\r\n\r\n"
	in := strings.NewReader(setup)
	br := bufio.NewReader(in)
	r := NewReader(br)
	b.ReportAllocs()
	b.SetBytes(int64(len(setup)))
	for b.Loop() {
		in.Reset(setup)
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkNextFrame: interleaved data is the mass of what is read.
func BenchmarkNextFrame(b *testing.B) {
	frame := "$\x00\x05\xac" + strings.Repeat("x", 1452)
	in := strings.NewReader(frame)
	r := NewReader(bufio.NewReader(in))
	b.ReportAllocs()
	b.SetBytes(int64(len(frame)))
	for b.Loop() {
		in.Reset(frame)
		if _, err := r.Next(); err != nil {
			b.Fatal(err)
		}
	}
}
