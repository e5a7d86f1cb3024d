package front

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"testing"
	"time"
)

// TestSteadyViewerIsNotCut: who takes little, but all the time, is there for as long
// as a handler's deadline for each write is no shorter than what he takes needs.
func TestSteadyViewerIsNotCut(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the kernel is not told")
	}
	const lag, rate = 2 * time.Second, 600 << 10 // bytes a second
	failed := make(chan error, 1)
	d := open(t, ladder{http: func(w http.ResponseWriter, r *http.Request) {
		rc, piece := http.NewResponseController(w), make([]byte, 64<<10)
		for {
			rc.SetWriteDeadline(time.Now().Add(lag)) //nolint:errcheck // the write says it
			if _, err := w.Write(piece); err != nil {
				failed <- err
				return
			}
		}
	}})
	c := d.client(t, d.dialHTTP)
	c.Conn.(*net.TCPConn).SetReadBuffer(64 << 10) //nolint:errcheck // a smaller one may do
	fmt.Fprint(c, get)
	io.CopyN(io.Discard, c.br, 16<<20) //nolint:errcheck // fast at first, so that buffers grow
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for range 100 {
		<-tick.C
		if _, err := io.CopyN(io.Discard, c.br, rate/20); err != nil {
			t.Fatalf("reading: %v", err)
		}
		select {
		case err := <-failed:
			t.Fatalf("cut, though something was taken all the time: %v, %v", err, os.ErrDeadlineExceeded)
		default:
		}
	}
}
