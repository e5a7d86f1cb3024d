package splitter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
	"weir/proxy/proxytest"
	"weir/proxy/wire"
)

// A door is a viewer's connection as gortsplib reads it.
type door struct {
	*conn
	t      *testing.T
	s      *Splitter
	client net.Conn
	gate   *proxytest.Gate
}

// newDoor makes a splitter that has the feed /cam, and a connection to it on
// which the viewer has sent these requests.
func newDoor(t *testing.T, requests ...string) *door {
	t.Helper()
	s := newTestSplitter(t, Options{})
	feedOf(s, newCamera(t, avSDP), avSDP, t)
	client, rc := proxytest.RTSPConn(t, strings.Join(requests, ""))
	d := &door{conn: newConn(t.Context(), s, rc), t: t, s: s, client: client, gate: s.env.Gate.(*proxytest.Gate)}
	t.Cleanup(func() { d.Close(); d.work.Wait() })
	return d
}

// ask is a request in text.
func ask(method, url string, fields ...string) string {
	return method + " " + url + " RTSP/1.0\r\n" + strings.Join(append(fields, "\r\n"), "\r\n")
}

// passes reads the next request that gortsplib gets to see.
func (d *door) passes() *wire.Request {
	d.t.Helper()
	d.SetReadDeadline(time.Now().Add(5 * time.Second)) //nolint:errcheck // the read says it
	m, err := wire.NewReader(bufio.NewReaderSize(d.conn, 64<<10)).Next()
	if err != nil {
		d.t.Fatalf("gortsplib reads: %v", err)
	}
	return m.(*wire.Request)
}

// answers reads what the viewer was answered.
func (d *door) answers(n int) (all []*wire.Response) {
	d.t.Helper()
	d.client.SetReadDeadline(time.Now().Add(2 * time.Second)) //nolint:errcheck // the reads say it
	r := wire.NewReader(bufio.NewReader(d.client))
	for range n {
		m, err := r.Next()
		if err != nil {
			d.t.Fatalf("the viewer reads: %v", err)
		}
		all = append(all, m.(*wire.Response))
	}
	return all
}

const (
	cam     = "rtsp://edge/cam"
	overTCP = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"
)

// What is refused here is answered, and the connection goes on.
func TestRefusedRequests(t *testing.T) {
	f := func(request string, code int, fields ...string) {
		t.Helper()
		d := newDoor(t, ask("OPTIONS", cam, "CSeq: 1"), request, ask("DESCRIBE", cam, "CSeq: 99"))
		if req := d.passes(); req.Method != "OPTIONS" {
			t.Fatalf("first passes %s", req.Method)
		}
		if req := d.passes(); req.Method != "DESCRIBE" || req.Header.Get("CSeq") != "99" || d.feed == nil {
			t.Errorf("%q passes as %q", request, req.Raw)
		}
		res := d.answers(1)[0]
		if res.Code != code || res.Header.Get("Server") != serverName {
			t.Errorf("%q was answered %q", request, res.Append(nil))
		}
		for _, want := range fields {
			if !strings.Contains(string(res.Append(nil)), want+"\r\n") {
				t.Errorf("%q was answered %q, want %s", request, res.Append(nil), want)
			}
		}
	}
	f(ask("DESCRIBE", cam), 400)
	f(ask("PLAY", cam, "Session: 1"), 400)
	f(ask("DESCRIBE", cam, "CSeq: 2", "Require: play.scale"), 551, "CSeq: 2", "Unsupported: play.scale")
	f(ask("SETUP", cam+"/trackID=0", "CSeq: 2", "Proxy-Require: gates"), 551, "Unsupported: gates")
	f(ask("PLAY", cam, "CSeq: 2", "require: play.basic"), 551, "Unsupported: play.basic")
	f(ask("PLAY", cam, "CSeq: 2", "Require: a, b", "Proxy-Require: c"), 551, "Unsupported: a, b, c")
	f(ask("DESCRIBE", "rtsp://edge/a%2fb", "CSeq: 2"), 400)
	f(ask("DESCRIBE", "rtsp://edge/../cam", "CSeq: 2"), 400)
	f(ask("SETUP", "rtsp://edge/%00/trackID=0", "CSeq: 2"), 400)
	f(ask("DESCRIBE", "rtsp://[edge/cam", "CSeq: 2"), 400)
}

// The gate is asked once for each path, and again for another.
func TestGateIsAskedAboutEachPath(t *testing.T) {
	d := newDoor(t, ask("DESCRIBE", cam, "CSeq: 1"), ask("SETUP", cam+"/trackID=1", "CSeq: 2", overTCP), ask("DESCRIBE", cam+"/", "CSeq: 3"),
		ask("DESCRIBE", "rtsp://edge/second", "CSeq: 4"), ask("SETUP", "rtsp://edge/second/trackID=0", "CSeq: 5", overTCP),
		ask("DESCRIBE", "rtsp://edge/other", "CSeq: 6"), ask("GET_PARAMETER", cam, "CSeq: 7"))
	for _, want := range []string{"DESCRIBE", "SETUP", "DESCRIBE"} {
		if req := d.passes(); req.Method != want || d.feed == nil || d.feed.path != "/cam" {
			t.Errorf("passes %s, want %s", req.Method, want)
		}
	}
	if n := d.gate.Count().Checks; n != 0 {
		t.Errorf("asked %d times about the path that the front has asked about", n)
	}
	d.s.feeds["/second"] = d.s.feeds["/cam"]
	d.passes()
	d.passes()
	if n := d.gate.Count().Checks; n != 1 {
		t.Errorf("asked %d times about a second path, want once", n)
	}
	d.gate.RefuseCheck = &proxy.Refusal{Reason: proxy.Forbidden}
	if req := d.passes(); req.Method != "GET_PARAMETER" || d.feed != nil {
		t.Errorf("passes %s with a feed %v", req.Method, d.feed)
	}
	if res := d.answers(1)[0]; res.Code != 403 || res.Header.Get("CSeq") != "6" || d.gate.Count().Checks != 2 {
		t.Errorf("a third path: asked %d times, answered %d", d.gate.Count().Checks, res.Code)
	}
}

// Who guesses credentials is answered eight times, the last time included, and then
// his connection ends; so does that of who sends what cannot be read.
func TestGuessesAreCounted(t *testing.T) {
	f := func(reason proxy.Reason, code int, url string, want int) {
		t.Helper()
		var requests []string
		for n := range 100 {
			requests = append(requests, ask("DESCRIBE", url, fmt.Sprint("CSeq: ", n), fmt.Sprint("Authorization: Basic ", n)))
		}
		d := newDoor(t, append([]string{ask("OPTIONS", cam, "CSeq: 1")}, requests...)...)
		d.client.(*net.TCPConn).CloseWrite() //nolint:errcheck // the reads say it
		d.gate.RefuseCheck = &proxy.Refusal{Reason: reason}
		d.passes()
		if _, err := d.Read(make([]byte, 100)); err != io.EOF {
			t.Errorf("%s: %v", reason, err)
		}
		d.client.SetReadDeadline(time.Now().Add(2 * time.Second)) //nolint:errcheck // the reads say it
		r := wire.NewReader(bufio.NewReader(d.client))
		for n := range want {
			m, err := r.Next()
			if res, ok := m.(*wire.Response); !ok || res.Code != code || res.Header.Get("CSeq") != fmt.Sprint(n) {
				t.Fatalf("%s: request %d was answered %+v, %v", reason, n, m, err)
			}
		}
		d.Close()
		if m, err := r.Next(); err == nil {
			t.Errorf("%s: more than %d answers: %+v", reason, want, m)
		}
	}
	f(proxy.Unauthorized, 401, "rtsp://edge/other", maxGuesses)
	f(proxy.Forbidden, 403, "rtsp://edge/other", maxGuesses)
	f("", 400, "rtsp://edge/../other", maxGuesses)
}

// Who is refused because there is no room has guessed nothing.
func TestBusyIsNoGuess(t *testing.T) {
	requests := []string{ask("OPTIONS", cam, "CSeq: 1")}
	for range 3 * maxGuesses {
		requests = append(requests, ask("DESCRIBE", "rtsp://edge/other", "CSeq: 2"))
	}
	d := newDoor(t, append(requests, ask("GET_PARAMETER", cam, "CSeq: 3"))...)
	d.gate.RefuseCheck = &proxy.Refusal{Reason: proxy.TooFast}
	d.passes()
	if req := d.passes(); req.Method != "GET_PARAMETER" {
		t.Errorf("passes %s", req.Method)
	}
}

// What cannot be read is an offence, as it is to the front; what is refused is not.
func TestOffences(t *testing.T) {
	f := func(request string, want int) {
		t.Helper()
		d := newDoor(t, ask("OPTIONS", cam, "CSeq: 1"), request, ask("GET_PARAMETER", cam, "CSeq: 99"))
		d.gate.RefuseCheck = &proxy.Refusal{Reason: proxy.Unauthorized}
		d.passes()
		d.Read(make([]byte, 100)) //nolint:errcheck // the next request, or an end
		if n := d.gate.Count().Offences; n != want {
			t.Errorf("%q: %d offences, want %d", request, n, want)
		}
	}
	f("nonsense\r\n\r\n", 1)
	f(ask("DESCRIBE", cam), 1)
	f(ask("DESCRIBE", "rtsp://edge/../cam", "CSeq: 2"), 1)
	f(ask("DESCRIBE", "rtsp://edge/other", "CSeq: 2"), 0) // the gate knows
	f(ask("DESCRIBE", cam, "CSeq: 2", "Require: x"), 0)
	f(ask("PLAY", cam, "CSeq: 2", "Session: 1"), 0)
}

// What breaks the protocol is answered and ends the connection.
func TestMalformedRequests(t *testing.T) {
	f := func(bytes string, code int) {
		t.Helper()
		d := newDoor(t, ask("OPTIONS", cam, "CSeq: 1"), bytes, ask("DESCRIBE", cam, "CSeq: 2"))
		d.passes()
		if _, err := d.Read(make([]byte, 100)); !errors.Is(err, wire.ErrMalformed) {
			t.Errorf("%q reads as %v", bytes, err)
		}
		if res := d.answers(1)[0]; res.Code != code {
			t.Errorf("%q was answered %d, want %d", bytes, res.Code, code)
		}
	}
	f("nonsense\r\n\r\n", 400)
	f("DESCRIBE rtsp://edge/cam RTSP/2.0\r\nCSeq: 2\r\n\r\n", 505)
	f(ask("PLAY", cam, "CSeq: 2", "Content-Length: 4", "Content-Length: 5"), 400)
}

// Each request that is refused, and each connection that ends for what came on it, is
// one line of the log, without what may be credentials.
func TestOneLineEach(t *testing.T) {
	f := func(request, message string) {
		t.Helper()
		d := newDoor(t, ask("OPTIONS", cam, "CSeq: 1"), request, ask("OPTIONS", cam, "CSeq: 2"))
		core, lines := observer.New(zap.DebugLevel)
		d.log = zap.New(core)
		d.passes()
		d.Read(make([]byte, 100)) //nolint:errcheck // the next request, or an end
		all := lines.All()
		if len(all) != 1 || all[0].Message != message || all[0].Level != zap.DebugLevel || strings.Contains(fmt.Sprint(all[0].ContextMap()), "secret") {
			t.Errorf("%q: the log has %v", request, all)
		}
	}
	f("secret secret secret\r\n\r\n", "malformed request")
	f("RTSP/1.0 secret\r\n\r\n", "malformed request")
	f(ask("PLAY", cam, "CSeq: 2", "Content-Length: secret"), "malformed request")
	f(ask("DESCRIBE", "rtsp://u:secret@edge/../x?token=secret", "CSeq: 2"), "request refused")
	f(ask("DESCRIBE", "rtsp://edge:secret/cam", "CSeq: 2"), "request refused")
	f(ask("PLAY", cam, "CSeq: 2", "Session: secret"), "request refused")
	f(ask("SETUP", cam+"/trackID=0", "CSeq: 2", "Transport: RTP/AVP;client_port=secret"), "request refused")
	f(ask("SETUP", cam+"/trackID=0?secret", "CSeq: 2", "Authorization: secret"), "request refused")
}

// What viewers send between requests is not for gortsplib.
func TestViewersMediaIsDropped(t *testing.T) {
	d := newDoor(t, ask("OPTIONS", cam, "CSeq: 1"), "$\x01\x00\x04abcd", "RTSP/1.0 200 OK\r\nCSeq: 7\r\n\r\n", "$\x00\x00\x00", ask("GET_PARAMETER", cam, "CSeq: 2"))
	d.passes()
	if req := d.passes(); req.Method != "GET_PARAMETER" {
		t.Errorf("passes %s", req.Method)
	}
	d.client.(*net.TCPConn).CloseWrite() //nolint:errcheck // the read says it
	if _, err := d.Read(make([]byte, 100)); err != io.EOF {
		t.Errorf("at the end: %v", err)
	}
}

// A path of another rung ends the connection, so that the player dials again.
func TestPathOfAnotherRung(t *testing.T) {
	d := newDoor(t, ask("DESCRIBE", cam, "CSeq: 1"), ask("DESCRIBE", "rtsp://edge/film", "CSeq: 2"))
	d.passes()
	d.s.verdicts.Add("/film", verdict{errStored, time.Now().Add(time.Minute)})
	if _, err := d.Read(make([]byte, 100)); err != io.EOF {
		t.Errorf("a stored stream: %v", err)
	}
}

// A request longer than what is read at once comes in pieces.
func TestReadInPieces(t *testing.T) {
	d := newDoor(t, ask("GET_PARAMETER", cam, "CSeq: 1", "X-Long: "+strings.Repeat("x", 300)))
	var got []byte
	for !strings.HasSuffix(string(got), "\r\n\r\n") {
		b := make([]byte, 7)
		n, err := d.Read(b)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, b[:n]...)
	}
	if want := ask("GET_PARAMETER", feedURL, "CSeq: 1"); string(got) != want {
		t.Errorf("reads %q", got)
	}
}

// gortsplib sees of a request what it needs, in the form that it expects.
func TestForGortsplib(t *testing.T) {
	f := func(request, want string) {
		t.Helper()
		d := newDoor(t, request)
		if got := string(d.passes().Raw); got != want {
			t.Errorf("%q passes as %q, want %q", request, got, want)
		}
	}
	long := "X-Long: " + strings.Repeat("x", 3000)
	f(ask("OPTIONS", "*", "cseq:  7 ", long), ask("OPTIONS", feedURL, "CSeq: 7"))
	f(ask("DESCRIBE", cam+"?token=secret", "CSeq: 1", "User-Agent: GStreamer/1.24"), ask("DESCRIBE", feedURL, "CSeq: 1"))
	f(ask("DESCRIBE", "rtsp://edge//cam/./?"+strings.Repeat("x", 3000), "CSeq: 1"), ask("DESCRIBE", feedURL, "CSeq: 1"))
	f(ask("SETUP", cam+"/trackID=1", "CSeq: 1", "User-Agent: GStreamer/1.24", "Transport: RTP/AVP/TCP;unicast", "Content-Length: 3")+"abc",
		ask("SETUP", feedURL+"/trackID=1", "CSeq: 1", "Transport: RTP/AVP/TCP;unicast;interleaved=0-1"))
	f(ask("SETUP", cam+"?token=x/trackID=0", "CSeq: 1", "Transport: RTP/SAVP;unicast", "transport: RTP/AVP/TCP;source=evil.example;interleaved=8"),
		ask("SETUP", feedURL+"/trackID=0", "CSeq: 1", "Transport: RTP/AVP/TCP;unicast;interleaved=8-9"))
}
