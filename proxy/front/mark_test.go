package front

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"weir/proxy"
)

// TestMarks: who says that it is an edge, and cannot show it, is not taken for a viewer;
// where there are no edges the field means nothing, and it never gets any further.
func TestMarks(t *testing.T) {
	said, log := observer.New(zapcore.WarnLevel)
	type seen struct{ peer, marked bool }
	got := make(chan seen, 1)
	l := ladder{
		http: func(_ http.ResponseWriter, r *http.Request) {
			got <- seen{proxy.ViewerFrom(r.Context()).Peer, r.Header.Get("Weir-Peer") != ""}
		},
		rtsp: func(_ context.Context, c *proxy.RTSPConn) {
			got <- seen{c.Viewer.Peer, false}
			c.Write([]byte("RTSP/1.0 200 OK\r\nCSeq: 2\r\n\r\n")) //nolint:errcheck // the test reads it
		},
	}
	edges := open(t, l, func(c *Config) {
		c.Peer = func(mark, path string) bool { return mark == "good" && path == "/cam" }
		c.Log = zap.New(said)
	})
	alone := open(t, l)
	f := func(d *door, method, path, mark string, code int, want seen) {
		t.Helper()
		if mark != "" {
			mark = "Weir-Peer: " + mark + "\r\n"
		}
		var c *client
		var status int
		if method == "DESCRIBE" {
			c = d.viaRTSP(t, "DESCRIBE rtsp://edge"+path+" RTSP/1.0\r\nCSeq: 2\r\n"+mark+"\r\n")
			line, err := c.br.ReadString('\n')
			if err != nil {
				t.Fatal(err)
			}
			if strings.HasPrefix(line, "RTSP/1.0 200 ") {
				status = 200
			} else if strings.HasPrefix(line, "RTSP/1.0 503 ") {
				status = 503
			}
		} else {
			c = d.viaHTTP(t, method+" "+path+" HTTP/1.1\r\nHost: edge\r\n"+mark+"\r\n")
			res, _ := c.response()
			status = res.StatusCode
		}
		if status != code {
			t.Errorf("%s %s, %q: %d, want %d", method, path, mark, status, code)
		}
		if status == 200 {
			if s := <-got; s != want {
				t.Errorf("%s %s, %q: %+v, want %+v", method, path, mark, s, want)
			}
		}
	}
	for _, method := range []string{"GET", "DESCRIBE"} {
		f(edges, method, "/cam", "good", 200, seen{peer: true})
		f(edges, method, "/cam", "", 200, seen{})
		f(edges, method, "/cam", "bad", 503, seen{})
		f(edges, method, "/other", "good", 503, seen{})
		f(alone, method, "/cam", "bad", 200, seen{})
	}
	f(edges, "POST", "/cam", "good", 200, seen{}) // edges ask each other by GET only
	if n := log.Len(); n != 1 {
		t.Errorf("%d lines of log, want one a minute: %v", n, log.All())
	}
}
