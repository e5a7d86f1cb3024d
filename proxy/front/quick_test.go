package front

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"weir/proxy"
)

// An echo answers with what it was asked, and has that at hand but for a few
// paths.
type echo struct {
	ladder
	size int // of the answers, at least

	hits, done atomic.Int64 // answers at hand, and bytes of them that were sent
}

// Hit implements proxy.Hitter.
func (e *echo) Hit(p *proxy.Plain) *proxy.Hit {
	if strings.Contains(p.Path, "panic") {
		panic("BUG: oops")
	}
	switch {
	case strings.Contains(p.Path, "miss"), p.Path == "/hijack", p.Path == "/unread", p.Path == "/later":
		return nil
	}
	e.hits.Add(1)
	body := e.body(p.Head, p.Host, p.Path, p.Query, p.Viewer)
	h := &proxy.Hit{Done: func(n int64) { e.done.Add(n) }}
	h.Header = fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\nContent-Type: text/plain\r\n\r\n", len(body))
	if !p.Head {
		h.Body = net.Buffers{[]byte(body[:1]), nil, []byte(body[1:])}
	}
	return h
}

func (e *echo) body(head bool, host, path, query string, v *proxy.Viewer) string {
	s := fmt.Sprintf("%v %s %s %q %+v\n", head, host, path, query, *v)
	return s + strings.Repeat("x", max(0, e.size-len(s)))
}

func (e *echo) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v := proxy.ViewerFrom(r.Context())
	var body string
	if r.URL.Path == "/later" {
		pass(time.Second)
	}
	switch {
	case r.URL.Path == "/hijack":
		hijack(w, e.body(false, r.Host, r.URL.Path, r.URL.RawQuery, v))
		return
	case r.URL.Path == "/unread":
		body = "read nothing"
	case r.Method == http.MethodGet || r.Method == http.MethodHead:
		body = e.body(r.Method == http.MethodHead, r.Host, r.URL.Path, r.URL.RawQuery, v)
	default:
		read := make(chan string) // by another goroutine, as transports do
		go func() {
			b, err := io.ReadAll(r.Body)
			read <- fmt.Sprintf("%s %q %v", r.Method, b, err)
		}()
		body = <-read
	}
	w.Header()["Date"] = nil
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.Header().Set("Content-Type", "text/plain")
	io.WriteString(w, body) //nolint:errcheck // the client sees it
}

// hijack sends all that comes back to whence it came.
func hijack(w http.ResponseWriter, first string) {
	c, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer c.Close()
	io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\n\r\n"+first) //nolint:errcheck // the client sees it
	io.Copy(c, rw)                                                      //nolint:errcheck // the client sees it
}

// A plainEcho has nothing at hand.
type plainEcho struct{ *echo }

func (plainEcho) Hit() {}

// said is what comes back when the pieces are sent, each after all that the one
// before has caused. It is for bubbles.
func (d *door) said(t *testing.T, pieces ...string) string {
	t.Helper()
	c, err := d.dialHTTP()
	if err != nil {
		t.Fatal(err)
	}
	var got bytes.Buffer
	var wg sync.WaitGroup
	wg.Go(func() { io.Copy(&got, c) }) //nolint:errcheck // what came is what counts
	for _, p := range pieces {
		if p == "" { // pipes would make something of it
			continue
		}
		if _, err := io.WriteString(c, p); err != nil {
			break
		}
		synctest.Wait()
	}
	c.Close()
	wg.Wait()
	synctest.Wait()
	return date.ReplaceAllString(got.String(), "")
}

var date = regexp.MustCompile("Date: .*GMT\r\n")

// twoWays runs two fronts, of which only the first may answer quickly, and
// calls test with a function that sends pieces to both, compares what they say,
// and returns it with the number of quick answers.
func twoWays(t *testing.T, test func(same func(pieces ...string) (answers string, hits int))) {
	synctest.Test(t, func(t *testing.T) {
		e := &echo{}
		withHits, without := openPipes(t, ladder{}, handler(e)), openPipes(t, ladder{}, handler(plainEcho{e}))
		test(func(pieces ...string) (string, int) {
			e.hits.Store(0)
			quick := withHits.said(t, pieces...)
			hits := int(e.hits.Load())
			if slow := without.said(t, pieces...); quick != slow {
				t.Errorf("%.200q\nquick: %.400q\n slow: %.400q", pieces, quick, slow)
			}
			if q, s := withHits.gate.Count(), without.gate.Count(); q != s {
				t.Fatalf("%.200q: the gate was asked %+v with quick answers, %+v without", pieces, q, s)
			}
			if q, s := withHits.http.out.Load(), without.http.out.Load(); q != s {
				t.Fatalf("%.200q: %d bytes counted with quick answers, %d without", pieces, q, s)
			}
			return quick, hits
		})
	})
}

func handler(h proxy.Handler) func(*Config) { return func(c *Config) { c.Handler = h } }

// req is a request of HTTP/1.1.
func req(line string, fields ...string) string {
	return lines(append([]string{line + " HTTP/1.1", "Host: edge"}, fields...)...)
}

// Which requests are answered quickly; what is said is the same as without.
// Each goes second on its connection, as the first is always net/http's, and is
// followed by a plain one.
func TestQuickAnswers(t *testing.T) {
	twoWays(t, func(same func(...string) (string, int)) {
		f := func(want int, request string) {
			t.Helper()
			if s, hits := same(get, request, get); hits != want {
				t.Errorf("%.200q: %d quick answers, want %d; said %.300q", request, hits, want, s)
			}
		}
		f(2, get)
		f(2, req("GET /"))
		f(2, req("HEAD /a/b.ts?x=1&y=%2f"))
		f(2, req("GET /a/"))
		f(2, req("GET /a//b/./c//"))
		f(2, req("GET //a"))
		f(2, req("GET /.hidden/..a"))
		f(2, req("GET /a\"b<>|^"))
		f(2, req("GET /door%20cam/%C3%A4/?"))
		f(2, req("GET /a??b?c"))
		f(2, req("GET /a", "User-Agent: VLC/3 ", "authorization:Bearer abc", "Accept: */*", "X-Empty:", "Cookie: a=b; c=d"))
		f(2, req("GET /a", "connection: Keep-Alive", "Keep-Alive: 300", "X-Utf8: ä"))
		f(2, get+get[:0])
		f(2, req("GET /a", "X: "+strings.Repeat("y", 3900)))
		f(3, get+get)
		f(4, get+req("HEAD /x")+get)

		// One answer: to the plain request behind it.
		f(1, req("GET /miss"))
		f(2, req("GET /a?b\"c"))
		f(1, req("GET /%2e%2e/a"))
		f(1, req("GET /a%2fb"))
		f(1, req("GET /a%5cb"))
		f(1, req("GET /a/../b"))
		f(1, req("GET /a#b"))
		f(1, req("GET /a?b#c"))
		f(1, req("GET http://edge/a"))
		f(1, req("GET http:a"))
		f(1, req("OPTIONS *"))
		f(1, req("OPTIONS /a"))
		f(1, req("CONNECT edge:1"))
		f(1, req("DELETE /a"))
		f(1, req("POST /a", "Content-Length: 0"))
		for _, field := range []string{"Range: bytes=0-", "If-None-Match: *", "if-modified-since: x", "IF-RANGE: x", "Cache-Control: no-cache",
			"pragma: x", "Content-Length: 0", "TE: trailers", "Trailer: X", "Via: 1.1 x", "Max-Forwards: 1", "Weir-Peer: x",
			"HTTP2-Settings: x", "Proxy-Connection: keep-alive", "Proxy-Authorization: x", "Connection: keep-alive, x", "Connection: x",
			"Connection:", "Upgrade: x", "Tab:\tx", "X: a\tb", "X: a\r\n folded", "X: a\r\n\tfolded", "Authorization: a\r\nAuthorization: b",
			"User-Agent:\r\nUser-Agent: b"} {
			f(1, req("GET /a", field))
		}
		f(1, strings.ReplaceAll(get, "\r\n", "\n"))
		f(1, strings.Replace(get, "\r\n\r\n", "\r\n\n", 1))
		f(1, "GET /a HTTP/1.1\nHost: edge\r\n\r\n")
		f(1, "GET /a HTTP/1.0\r\nHost: edge\r\nConnection: keep-alive\r\n\r\n")
		f(1, "GET /a HTTP/1.1\r\nHost: edge_1.x:80%\r\n\r\n")
		f(1, "GET /a HTTP/1.1\r\nHost:\r\n\r\n")
		f(1, req("GET /"+strings.Repeat("x", 1023)+"/"))
		f(1, req("GET /a", "X: "+strings.Repeat("y", 5000)))

		// None: the connection ends, or net/http has had more than it could be watched with.
		for _, line := range []string{"GET /a%", "GET /a%zz", "GET /a b", "GET  /a", "GET a", "GET", "GET /a\x00", "G\x01T /a", "get /a\r"} {
			f(0, line+" HTTP/1.1\r\nHost: edge\r\n\r\n")
		}
		for _, field := range []string{"Connection: close", "Host: edge", "Host: other", "X", ": x", "X : y", "X: a\x00", "X: a\x7f", " X: y",
			"X: a\r b", "X\xff: a", "Content-Length: x", "Content-Length: 5", "Transfer-Encoding: chunked", "Transfer-Encoding: x", "Expect: x", "\rX: y"} {
			f(0, req("GET /a", field))
		}
		f(0, "\r\n"+get)
		f(0, "GET /a HTTP/1.1\r\n\r\n")
		f(0, "GET /a HTTP/1.1\r\nX: y\r\n\r\n")
		f(0, "GET /a HTTP/1.1\r\nHost: ed ge\r\n\r\n")
		f(0, "GET /a HTTP/2.0\r\nHost: edge\r\n\r\n")
		f(0, "GET /a HTTP/1.10\r\nHost: edge\r\n\r\n")
		f(0, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
		f(0, req("GET /a", strings.Repeat("X: y\r\n", 20000)+"X: y"))
		f(0, strings.Repeat("x", 100<<10))
		f(0, req("POST /a", "Content-Length: 5")+"hello")
		f(0, req("POST /a", "Content-Length: 60")+get+get) // a body that looks like requests
		f(0, req("POST /a", "Transfer-Encoding: chunked")+"5\r\nhello\r\n0\r\n\r\n")
		f(0, req("GET /miss")+get)
		f(1, get+req("GET /miss")+get)
		f(0, req("GET /hijack", "Upgrade: x", "Connection: upgrade")+get)
	})
}

// However a request is cut into pieces, it is answered the same, and the next
// one may be answered quickly again unless net/http has read ahead.
func TestQuickInPieces(t *testing.T) {
	twoWays(t, func(same func(...string) (string, int)) {
		f := func(request string, want int) {
			t.Helper()
			for i := 1; i < len(request); i++ {
				if s, hits := same(get, request[:i], request[i:], get); hits != want {
					t.Errorf("%q and %q: %d quick answers, want %d; said %.300q", request[:i], request[i:], hits, want, s)
				}
				same(request[:i], request[i:], get, get, request[:i], request[i:])
			}
		}
		f(req("GET /a", "User-Agent: x"), 1)
		f(req("HEAD /miss"), 1)
		f("GET /a HTTP/1.1\nHost: edge\n\n", 1)
		f(req("GET /a", "X: y\n\nz"), 0)
		f(req("POST /a", "Content-Length: 5")+"hello", 0)
		// The second is cut, too.
		for i, two := 1, get+req("GET /b"); i < len(two); i++ {
			same(get, two[:i], two[i:], get)
			same(two[:i], two[i:], get)
		}
		// Byte by byte.
		bytewise := append([]string{get}, strings.Split(req("GET /b")+req("POST /c", "Content-Length: 2")+"hi"+get, "")...)
		same(append(bytewise, get)...)
	})
}

// Ways may change at each request of a connection.
func TestQuickAndSlowInTurn(t *testing.T) {
	miss, later, post := req("GET /miss"), req("GET /later"), req("POST /a", "Content-Length: 5")
	twoWays(t, func(same func(...string) (string, int)) {
		f := func(want int, pieces ...string) {
			t.Helper()
			if s, hits := same(pieces...); hits != want {
				t.Errorf("%.60q: %d quick answers, want %d; said %.300q", pieces, hits, want, s)
			}
		}
		f(0)
		f(0, get)
		f(0, get+get+get)
		f(0, "GET")
		f(4, get, get, miss, get, miss, miss, get, req("HEAD /a"))
		f(2, get, get, get, post, "hello", get, get)
		f(1, get, get, req("POST /unread", "Content-Length: 5"), "hello", get)
		f(1, get, get, req("POST /unread", "Content-Length: 999999"), get, get)
		f(1, get, get, req("POST /a", "Content-Length: 5", "Expect: 100-continue"), "hello", get)
		f(1, get, get, req("POST /unread", "Content-Length: 5", "Expect: 100-continue"), get)
		f(1, get, get, req("GET /hijack"), "hello", get, get)
		f(0, req("GET /hijack"), get, get)
		f(1, req("POST /a", "Content-Length: 0"), "\r\n"+get, get)
		// While a handler works, net/http takes a byte of what comes next.
		f(1, later, get, get)
		f(1, get, later, get, later, get, get)
		f(1, get, later, "G", get[1:], get)
		f(1, get, later, "X"+get, get) // a method of four letters
		f(0, get, later, "\r\n"+get, get)
		f(0, get, later, get+get, get)
		f(0, get, req("POST /later", "Content-Length: 5"), "hello", get, get)
		f(0, get, req("POST /later", "Content-Length: 5"), "h", "e", "llo", get, get)
		f(2, get, get, get+"GE", "T /a HTTP/1.1\r\nHost: edge\r\n\r\n"+miss, get)
	})
}
