package front

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestSteadyViewerIsNotCut: who takes little, but all the time, gets all of his
// answer, though the kernel lets nobody write to him for longer than a write may
// take.
func TestSteadyViewerIsNotCut(t *testing.T) {
	const within, rate = 500 * time.Millisecond, 400 << 10 // bytes a second
	name := filepath.Join(t.TempDir(), "film")
	if err := os.WriteFile(name, make([]byte, 64<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	pieces := func(w http.ResponseWriter) error { return pour(w, within) }
	fileOf := func(w http.ResponseWriter) error {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		w.Header().Set("Content-Length", fmt.Sprint(64<<20)) // it goes by sendfile
		ctl := http.NewResponseController(w)
		ctl.Flush() //nolint:errcheck // the copy says it
		for {
			ctl.SetWriteDeadline(time.Now().Add(within)) //nolint:errcheck // the copy says it
			if n, err := io.CopyN(w, f, 1<<20); err != nil {
				return fmt.Errorf("%d bytes of a file: %w", n, err)
			}
		}
	}
	f := func(what string, write func(http.ResponseWriter) error, change func(*Config), dial func(*door) net.Conn) {
		t.Helper()
		failed := make(chan error, 1)
		d := open(t, ladder{http: func(w http.ResponseWriter, _ *http.Request) { failed <- write(w) }}, change)
		c := dial(d)
		fmt.Fprint(c, get)
		io.CopyN(io.Discard, c, 16<<20) //nolint:errcheck // fast at first, so that buffers grow
		tick := time.NewTicker(50 * time.Millisecond)
		defer tick.Stop()
		for range 40 {
			<-tick.C
			if _, err := io.CopyN(io.Discard, c, rate/20); err != nil {
				t.Fatalf("%s: reading: %v", what, err)
			}
			select {
			case err := <-failed:
				t.Fatalf("%s: cut, though something was taken all the time: %v", what, err)
			default:
			}
		}
		select { // he takes nothing any more
		case <-failed:
		case <-time.After(20 * time.Second):
			t.Errorf("%s: still written to", what)
		}
	}
	narrow := func(dial func() (net.Conn, error)) net.Conn {
		c, err := dial()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(64 << 10) //nolint:errcheck // with a large one he takes in few large steps
		return c
	}
	plain := func(d *door) net.Conn { return narrow(d.dialHTTP) }
	change, trust := underTLS(t)
	f("HTTP", pieces, func(*Config) {}, plain)
	f("a file", fileOf, func(*Config) {}, plain)
	f("HTTPS", pieces, change, func(d *door) net.Conn { return tls.Client(narrow(d.dialHTTPS), trust) })
}
