package front

import (
	"fmt"
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// TestBodyNobodyReads: who promises a body and sends it byte by byte, or not at
// all, holds no connection, whoever answers.
func TestBodyNobodyReads(t *testing.T) {
	forbidden := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }
	f := func(line string, gate *proxytest.Gate, fields string, send string) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d := openPipes(t, ladder{http: forbidden}, func(c *Config) { c.Gate = gate })
			c := d.viaHTTP(t, req(line, fields))
			var wg sync.WaitGroup
			defer wg.Wait()
			wg.Go(func() { drip(c, send) })
			if took := closedAfter(c); took > 2*maxStall {
				t.Errorf("%s, %s: closed after %v", line, fields, took)
			}
			synctest.Wait() // the client may hear of the end before it is counted
			if n := d.http.open.Load(); n != 0 {
				t.Errorf("%s, %s: %d connections open", line, fields, n)
			}
		})
	}
	many := fmt.Sprintf("%1000s", "")
	const length, chunked = "Content-Length: 1000", "Transfer-Encoding: chunked"
	for _, send := range []string{"", many} {
		f("POST /a", &proxytest.Gate{}, length, send)
		f("GET /a", &proxytest.Gate{}, length, send) // as quick answers do not have
		f("POST /a/../b", &proxytest.Gate{}, length, send)
		f("POST /a", &proxytest.Gate{RefuseCheck: &proxy.Refusal{Reason: proxy.Unauthorized}}, length, send)
		f("CONNECT edge:1", &proxytest.Gate{}, length, send)
		f("OPTIONS *", &proxytest.Gate{}, length, send)
	}
	f("POST /a", &proxytest.Gate{}, chunked, "")
	f("POST /a", &proxytest.Gate{}, chunked, "fff\r\n"+many)
}

// A body that is there does not end its answer, however long that takes, nor the
// connection.
func TestBodyBeforeLongAnswer(t *testing.T) {
	f := func(what string, serve func(http.ResponseWriter, *http.Request)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			d := openPipes(t, ladder{http: func(w http.ResponseWriter, r *http.Request) {
				w.Header()["Date"] = nil
				serve(w, r)
				pass(10 * idle)
				if err := r.Context().Err(); err != nil {
					t.Errorf("%s: %v", what, err)
				}
				io.WriteString(w, "late") //nolint:errcheck // the client sees it
			}})
			c := d.viaHTTP(t, req("POST /a", "Content-Length: 5")+"hello")
			for range 2 {
				if res, body := c.response(); res.StatusCode != 200 || body != "late" {
					t.Errorf("%s: %d %q", what, res.StatusCode, body)
				}
				pass(idle - time.Second)
				c.send(req("POST /a", "Content-Length: 5") + "hello")
			}
			c.response()
		})
	}
	f("unread", func(w http.ResponseWriter, _ *http.Request) { http.NewResponseController(w).Flush() }) //nolint:errcheck // the client sees it
	f("read", func(_ http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })             //nolint:errcheck // the same
}

// Load balancers' question needs no gate, and gets net/http's own answer.
func TestHTTPOptions(t *testing.T) {
	d := open(t, ladder{})
	res, body := d.viaHTTP(t, req("OPTIONS *")).response()
	if res.StatusCode != 200 || res.ContentLength != 0 || body != "" || d.gate.Count().Checks != 0 {
		t.Errorf("OPTIONS *: %+v %q", res, body)
	}
}
