package proxytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"weir/proxy"
	"weir/proxy/sdp"
	"weir/proxy/wire"
)

const describe = "DESCRIBE rtsp://edge.example/%s RTSP/1.0\r\nCSeq: 7\r\nAccept: application/sdp\r\nUser-Agent: proxytest\r\n\r\n"

// A watcher is a viewer at the other end of a connection that a mode serves.
type watcher struct {
	rig     *rig
	conn    net.Conn
	in      *wire.Reader
	served  *proxy.RTSPConn
	leave   context.CancelFunc // ends ServeRTSP's context
	done    chan string        // how ServeRTSP panicked, "" if it did not
	session string             // the header, once there is one
	cseq    int
}

// watch connects a viewer whose first request is a DESCRIBE of path.
func (r *rig) watch(path string) *watcher {
	r.t.Helper()
	client, c := RTSPConn(r.t, fmt.Sprintf(describe, path))
	ctx, cancel := context.WithCancel(context.Background())
	r.t.Cleanup(cancel) // of use only if the test fails before
	w := &watcher{rig: r, conn: client, in: wire.NewReader(bufio.NewReader(client)), served: c,
		leave: cancel, done: make(chan string, 1), cseq: 7}
	go serveRTSP(ctx, r.mode, c, w.done)
	return w
}

func serveRTSP(ctx context.Context, h proxy.Handler, c *proxy.RTSPConn, done chan<- string) {
	defer func() { done <- describePanic(recover()) }()
	h.ServeRTSP(ctx, c)
}

// ended fails the test unless ServeRTSP returns, with the connection closed.
func (w *watcher) ended(after string) {
	t := w.rig.t
	t.Helper()
	select {
	case p := <-w.done:
		if p != "" {
			t.Errorf("ServeRTSP panics: %s", p)
		}
	case <-time.After(patience):
		t.Fatalf("ServeRTSP goes on %v after %s", patience, after)
	}
	if !w.served.Conn.(*conn).closed.Load() {
		t.Errorf("ServeRTSP has returned after %s, but the connection is open", after)
	}
	w.leave()
	w.conn.Close()
}

// answer reads up to the next response, and fails the test if it is not one to
// the last request.
func (w *watcher) answer() *wire.Response {
	t := w.rig.t
	t.Helper()
	for {
		m, err := w.next()
		if err != nil {
			t.Fatalf("request %d is not answered: %v", w.cseq, err)
		}
		if res, ok := m.(*wire.Response); ok {
			if got, want := res.Header.Get("CSeq"), fmt.Sprint(w.cseq); got != want {
				t.Errorf("the answer %d has CSeq %q, want %q", res.Code, got, want)
			}
			return res
		}
	}
}

func (w *watcher) next() (any, error) {
	w.conn.SetReadDeadline(time.Now().Add(answerIn)) //nolint:errcheck // the read says it
	return w.in.Next()
}

func (w *watcher) ask(method, url, more string) *wire.Response {
	t := w.rig.t
	t.Helper()
	w.cseq++
	req := fmt.Sprintf("%s %s RTSP/1.0\r\nCSeq: %d\r\n%s", method, url, w.cseq, more)
	if w.session != "" {
		req += "Session: " + w.session + "\r\n"
	}
	if _, err := io.WriteString(w.conn, req+"\r\n"); err != nil {
		t.Fatalf("send %s: %v", method, err)
	}
	return w.answer()
}

// refused fails the test unless the first request was answered with an error, or
// left to the next rung.
func (w *watcher) refused() {
	t := w.rig.t
	t.Helper()
	switch res := w.answer(); {
	case res.Code == Left && len(w.rig.next.RTSP()) > 0:
	case res.Code < 400:
		t.Errorf("DESCRIBE without an origin is answered %d %s, want 400 or more", res.Code, res.Phrase)
	}
}

// discard closes done at the first message, or at the end of the connection.
func (w *watcher) discard(done chan<- struct{}) {
	defer close(done)
	_, _ = w.next()
}

// expect400 fails the test if anything but one answer 400 to 599 comes before
// the end.
func (w *watcher) expect400() {
	t := w.rig.t
	t.Helper()
	for {
		m, err := w.next()
		var timeout net.Error
		switch res, ok := m.(*wire.Response); {
		case errors.As(err, &timeout) && timeout.Timeout():
			t.Errorf("garbage is neither answered nor does it end the connection")
			return
		case err != nil:
			return
		case !ok || res.Code < 400:
			t.Errorf("garbage is answered with %T %+v", m, m)
			return
		}
	}
}

// setup reads the answer to DESCRIBE and sets up the first track. code is the
// last answer's.
func (w *watcher) setup() (url string, code int) {
	t := w.rig.t
	t.Helper()
	res := w.answer()
	if res.Code != 200 {
		return "", res.Code
	}
	s, err := sdp.Parse(res.Body)
	if err != nil {
		t.Fatalf("DESCRIBE is answered with %q: %v", res.Body, err)
	}
	url = res.Header.Get("Content-Base")
	if url == "" {
		url = "rtsp://edge.example/cam"
	}
	track := s.Media[0].Control
	if !strings.Contains(track, "://") {
		track = strings.TrimSuffix(url, "/") + "/" + track
	}
	res = w.ask("SETUP", track, "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\n")
	w.session, _, _ = strings.Cut(res.Header.Get("Session"), ";")
	return url, res.Code
}

// plays fails the test unless media arrive.
func (w *watcher) plays(url string) {
	t := w.rig.t
	t.Helper()
	if res := w.ask("PLAY", url, ""); res.Code != 200 {
		t.Fatalf("PLAY is answered %d %s", res.Code, res.Phrase)
	}
	for {
		m, err := w.next()
		if err != nil {
			t.Fatalf("nothing is played: %v", err)
		}
		if f, ok := m.(*wire.Frame); ok && f.Channel == 0 {
			return
		}
	}
}
