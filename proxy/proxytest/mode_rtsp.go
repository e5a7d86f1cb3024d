package proxytest

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"weir/proxy"
)

func describeWithoutOrigin(t testing.TB, build build) {
	r := start(t, build, nil, nil)
	for _, path := range []string{"nobody-knows", "", "a/b?token=x", "two%20words", "cam/trackID=0"} {
		w := r.watch(path)
		w.refused()
		w.conn.Close()
		w.ended("the viewer has gone")
	}
	r.stop()
	r.ticketsClosed()
}

func connEndsWithContext(t testing.TB, build build) {
	r := start(t, build, nil, nil)
	w := r.watch("nobody-knows")
	w.refused()
	w.leave()
	w.ended("its context is done")
	r.stop()
	r.ticketsClosed()
}

func connEndsWhileHanging(t testing.TB, build build) {
	asked := make(chan struct{}, 16)
	r := start(t, build, &Upstream{DialFunc: func(ctx context.Context, _ proxy.Want) (*proxy.Link, error) {
		select {
		case asked <- struct{}{}:
		default:
		}
		<-ctx.Done()
		return nil, ctx.Err()
	}}, nil)
	w := r.watch("nobody-knows")
	answered := make(chan struct{})
	go w.discard(answered)
	select {
	case <-asked:
	case <-answered: // left to the next rung, or refused unasked
	case <-time.After(answerIn):
		t.Errorf("neither an answer nor a dial within %v", answerIn)
	}
	w.leave()
	w.ended("its context is done")
	<-answered
	r.stop()
	r.ticketsClosed()
}

func connEndsWithViewer(t testing.TB, build build) {
	r := start(t, build, nil, nil)
	w := r.watch("nobody-knows")
	w.conn.Close() // without waiting for the answer
	w.ended("the viewer has gone")
	r.stop()
	r.ticketsClosed()
}

// garbageEndsConn: what follows the first request is not RTSP. The viewer does
// not hang up.
func garbageEndsConn(t testing.TB, build build) {
	for _, garbage := range []string{
		"GET / HTTP/1.1\r\nHost: edge.example\r\n\r\n",
		"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n\r\n\r\n",
		"SETUP rtsp://edge.example/x RTSP/1.0\r\nCSeq: 8\r\nContent-Length: -1\r\n\r\n",
		strings.Repeat("A", 64<<10),
	} {
		r := start(t, build, nil, nil)
		w := r.watch("nobody-knows")
		w.refused()
		w.conn.SetWriteDeadline(time.Now().Add(answerIn)) //nolint:errcheck // as below
		_, _ = io.WriteString(w.conn, garbage)            // the mode may have closed already
		w.expect400()
		w.ended(fmt.Sprintf("the viewer has sent %.20q", garbage))
		r.stop()
		r.ticketsClosed()
	}
}

func playingHasTicket(t testing.TB, build build) {
	endings := map[string]func(*watcher, string){
		"the viewer has gone": func(w *watcher, _ string) { w.conn.Close() },
		"its context is done": func(w *watcher, _ string) { w.leave() },
		"TEARDOWN": func(w *watcher, url string) {
			w.ask("TEARDOWN", url, "")
			w.conn.Close()
		},
	}
	for what, end := range endings {
		o := newOrigin(t)
		r := start(t, build, &Upstream{DialFunc: o.dial}, nil)
		w := r.watch("cam")
		if url, code := w.setup(); code == 200 {
			w.plays(url)
			if len(r.gate.Tickets()) == 0 {
				t.Error("a viewer plays without having been admitted")
			}
			end(w, url)
		} else { // refused, or left to the next rung
			w.conn.Close()
		}
		w.ended(what)
		r.ticketsClosed() // while the mode lives on: a place is the viewer's
		r.stop()
		o.close()
	}
}

func notAdmitted(t testing.TB, build build) {
	o := newOrigin(t)
	r := start(t, build, &Upstream{DialFunc: o.dial}, &Gate{RefuseAdmit: &proxy.Refusal{Reason: proxy.Full}})
	w := r.watch("cam")
	if _, code := w.setup(); code == 200 {
		t.Error("SETUP of a viewer who is not admitted is answered 200")
	}
	w.conn.Close()
	w.ended("the viewer has gone")
	r.stop()
	o.close()
}
