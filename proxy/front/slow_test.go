package front

import (
	"crypto/tls"
	"errors"
	"net/http"
	"os"
	"testing"
	"time"
)

// pour writes until it cannot, each write within the given time, and says what
// stopped it.
func pour(w http.ResponseWriter, within time.Duration) error {
	ctl := http.NewResponseController(w)
	for b := make([]byte, 64<<10); ; {
		if err := ctl.SetWriteDeadline(time.Now().Add(within)); err != nil {
			return err
		}
		if _, err := w.Write(b); err != nil {
			return err
		}
		if err := ctl.Flush(); err != nil {
			return err
		}
	}
}

// stuck sends a request and reads none of the answer; it returns why the
// handler's writing ended.
func stuck(t *testing.T, within time.Duration, change func(*Config), ask func(d *door)) error {
	t.Helper()
	ended := make(chan error, 1)
	d := open(t, ladder{http: func(w http.ResponseWriter, _ *http.Request) { ended <- pour(w, within) }}, change)
	ask(d)
	select {
	case err := <-ended:
		return err
	case <-time.After(5 * time.Second):
		t.Fatal("the handler still writes to a viewer who reads nothing")
		return nil
	}
}

// Handlers can give up on viewers who do not read, whatever they came in by.
func TestWriteDeadlineOfHandlers(t *testing.T) {
	change, trust := underTLS(t)
	const within = 50 * time.Millisecond
	if err := stuck(t, within, change, func(d *door) { d.viaHTTP(t, get) }); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("HTTP/1.1: %v, want a timeout", err)
	}
	err := stuck(t, within, change, func(d *door) { d.client(t, over(d.dialHTTPS, trust)).send(get) })
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("HTTP/1.1 under TLS: %v, want a timeout", err)
	}
	// HTTP/2's own window is full long before the socket is.
	err = stuck(t, within, change, func(d *door) {
		res, err := d.browser(t, trust).Get("https://edge/cam")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { res.Body.Close() })
	})
	if err == nil {
		t.Error("HTTP/2: no error")
	}
}

// On HTTP/2 a viewer may open a large window and then let the socket fill up:
// no stream's deadline helps there, the connection has to end.
func TestStuckHTTP2Connection(t *testing.T) {
	change, trust := underTLS(t)
	trust.NextProtos = []string{"h2"}
	short := func(c *Config) { change(c); c.Idle = 200 * time.Millisecond }
	err := stuck(t, time.Hour, short, func(d *door) { askWideOpen(t, d, trust) })
	if err == nil {
		t.Error("no error")
	}
}

// askWideOpen asks by HTTP/2 with the largest window there is, and never reads
// (RFC 9113 §4.1, §6).
func askWideOpen(t *testing.T, d *door, trust *tls.Config) {
	frame := func(kind, flags, stream byte, payload string) string {
		return string([]byte{0, 0, byte(len(payload)), kind, flags, 0, 0, 0, stream}) + payload
	}
	const settings, headers, windowUpdate = 4, 1, 8
	const endStream, endHeaders = 1, 4
	d.client(t, over(d.dialHTTPS, trust)).send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" +
		frame(settings, 0, 0, "\x00\x04\x7f\xff\xff\xff") + // a stream's window
		frame(windowUpdate, 0, 0, "\x7f\xff\x00\x00") + // the connection's has 65535 already
		frame(headers, endStream|endHeaders, 1, "\x82\x87\x84\x41\x04edge")) // GET https /, authority edge
}
