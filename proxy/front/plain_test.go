package front

import (
	"bufio"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"weir/proxy"
)

// What is plain says the same to net/http, and nothing of it is more than a
// plain request.
func FuzzReadPlain(f *testing.F) {
	f.Add(get)
	f.Add(get + get)
	f.Add(req("HEAD /a//b/?x=%2f&y", "User-Agent:  x y ", "Authorization: Bearer x", "Connection: keep-alive"))
	f.Add(req("GET /a%20b/", "X-Y: \xff"))
	f.Add(req("GET /a\"b??", "Accept: */*"))
	f.Add("GET /a HTTP/1.1\r\nHOST: [::1]:80\r\nX: y\n\r\n")
	f.Add(req("GET /a", "X-Forwarded-For: 198.51.100.1, 192.0.2.8", "Cookie: a=b; c=d"))
	f.Add(req("GET /a", "X-forwarded-for: ", "Forwarded: for=198.51.100.1"))
	f.Add(req("GET /a", "Forwarded: for=\"[2001:db8::9]:80\"; by=x"))
	front := &Front{cfg: Config{Options: Options{Forwarded: Prefixes{netip.MustParsePrefix("192.0.2.0/24")}}}}
	f.Fuzz(func(t *testing.T, in string) {
		r, n := readPlain([]byte(in))
		if n == 0 {
			return
		}
		br := bufio.NewReader(strings.NewReader(in[:n]))
		h, err := http.ReadRequest(br)
		if err != nil {
			t.Fatalf("%q: net/http says %v", in[:n], err)
		}
		viewerPath, path, err := cleanPath(h.URL.EscapedPath())
		if err != nil || h.URL.Opaque != "" || h.URL.Host != "" {
			t.Fatalf("%q: path %v", in[:n], err)
		}
		from := netip.MustParseAddrPort("192.0.2.7:50000")
		q := r.question(front.viewerOf(from, r.get))
		h.RemoteAddr = "[::ffff:192.0.2.7]:50000"
		viewer := httpViewer(front.sender(h), h.Method, h.RequestURI, viewerPath, h.URL.RawQuery, h.Header.Get)
		want := proxy.Plain{Head: h.Method == http.MethodHead, Host: h.Host, Path: path, Query: h.URL.RawQuery, Viewer: q.plain.Viewer}
		if q.plain != want || *q.plain.Viewer != viewer {
			t.Errorf("%q: %+v of %+v, net/http says %+v of %+v", in[:n], q.plain, *q.plain.Viewer, want, viewer)
		}
		if h.Close || h.ContentLength != 0 || h.Proto != "HTTP/1.1" || br.Buffered() > 0 || !strings.HasSuffix(in[:n], "\r\n\r\n") {
			t.Errorf("%q: %+v", in[:n], h)
		}
		for name := range h.Header {
			if isNotPlain(name) {
				t.Errorf("%q is plain with %s", in[:n], name)
			}
		}
		if c, ok := h.Header["Connection"]; ok && !strings.EqualFold(strings.Join(c, ""), strings.Repeat("keep-alive", len(c))) {
			t.Errorf("%q: Connection %q", in[:n], c)
		}
	})
}

// To see at a glance that a path is clean comes to the same as to clean it.
func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"/", "/a", "/a/", "//", "/a//b", "/.", "/a/.b", "/a.b/c.", "/..", "a/b", "", "/%41", "/a\\b", "/\xff", "/" + strings.Repeat("x", 1024), "/*;=:@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		want, wantErr := proxy.CleanPath(escaped)
		viewer, asked, err := cleanPath(escaped)
		if (err == nil) != (wantErr == nil) {
			t.Fatalf("cleanPath(%q): %v, want %v", escaped, err, wantErr)
		}
		if err != nil {
			return
		}
		wantAsked := want
		if want != "/" && strings.HasSuffix(escaped, "/") {
			wantAsked += "/"
		}
		if viewer != want || asked != wantAsked {
			t.Errorf("cleanPath(%q) = %q, %q, want %q, %q", escaped, viewer, asked, want, wantAsked)
		}
	})
}

// Whatever comes in, in whatever pieces, is answered the same with quick answers
// and without.
func FuzzQuickAnswers(f *testing.F) {
	f.Add(get+get, uint16(5), uint16(40))
	f.Add(req("GET /miss")+get, uint16(0), uint16(0))
	f.Add(req("POST /a", "Content-Length: 5")+"hello"+get, uint16(50), uint16(58))
	f.Add(req("POST /a", "Transfer-Encoding: chunked")+"5\r\nhello\r\n0\r\n\r\n"+get, uint16(9), uint16(70))
	f.Add(req("GET /hijack")+get, uint16(9), uint16(50))
	f.Add("GET /a HTTP/1.1\nHost: edge\n\n"+get, uint16(28), uint16(29))
	f.Add(req("GET /later")+get+get, uint16(36), uint16(70))
	f.Add(req("GET /a", "Range: bytes=0-", "X: y\r\n z")+"\r\n"+get, uint16(36), uint16(70))
	f.Fuzz(func(t *testing.T, in string, i, j uint16) {
		twoWays(t, func(same func(...string) (string, int)) {
			a := min(int(i), len(in))
			b := min(a+int(j), len(in))
			same(get, in[:a], in[a:b], in[b:], get, get)
		})
	})
}
