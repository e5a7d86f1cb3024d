package cache

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"weir/proxy"
	"weir/proxy/proxytest"
)

// hit asks for an answer at hand; nil if there is none.
func (r *rig) hit(path string, head bool) (*http.Response, string) {
	r.t.Helper()
	a := r.Hit(&proxy.Plain{Head: head, Host: "edge", Path: path, Viewer: &proxy.Viewer{Path: path}})
	if a == nil {
		return nil, ""
	}
	var b bytes.Buffer
	b.Write(a.Header)
	for _, p := range a.Body {
		b.Write(p)
	}
	a.Done(int64(b.Len() - len(a.Header)))
	method := "GET"
	if head {
		method = "HEAD"
	}
	res, err := http.ReadResponse(bufio.NewReader(&b), &http.Request{Method: method})
	if err != nil {
		r.t.Fatalf("%s: %v", path, err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		r.t.Fatalf("%s: %v", path, err)
	}
	return res, string(body)
}

// An answer at hand says what the usual way says.
func TestHitIsTheUsualAnswer(t *testing.T) {
	long := noise(2<<20 + 17)
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		fields := []string{"Cache-Control", "max-age=60", "Etag", `"a"`, "X-Two", "1", "X-Two", "2", "Cache-Status", "shield; hit"}
		switch req.URL.Path {
		case "/none.txt":
			http.NotFound(w, req)
		case "/empty.txt":
			page("", fields...)(w, req)
		case "/x":
			page("hello", append(fields, "Content-Type", "video/mp2t")...)(w, req)
		case "/long.ts":
			page(long, fields...)(w, req)
		default:
			page("hello", fields...)(w, req)
		}
	})
	f := func(path string) {
		t.Helper()
		r.get(path, "Origin", "http://player.example")
		for _, head := range []bool{false, true} {
			method := map[bool]string{false: "GET", true: "HEAD"}[head]
			want := r.do(method, path)
			var got *http.Response
			var body string
			proxytest.Eventually(t, 5*time.Second, method+" "+path+" is at hand", func() bool { // its fill may still be ending
				got, body = r.hit(path, head)
				return got != nil
			})
			if got.StatusCode != want.StatusCode || body != want.body || got.ContentLength != want.ContentLength {
				t.Errorf("%s %s: %d, %d of %d bytes; the usual answer is %d, %d of %d", method, path,
					got.StatusCode, len(body), got.ContentLength, want.StatusCode, len(want.body), want.ContentLength)
			}
			for name := range want.Header {
				if name != "Connection" && name != "Age" && strings.Join(got.Header[name], ", ") != strings.Join(want.Header[name], ", ") {
					t.Errorf("%s %s: %s: %q, the usual answer has %q", method, path, name, got.Header[name], want.Header[name])
				}
			}
			for name := range got.Header {
				if want.Header[name] == nil {
					t.Errorf("%s %s: %s is too much", method, path, name)
				}
			}
		}
	}
	f("/a.txt")
	f("/a.ts")
	f("/x")
	f("/empty.txt")
	f("/long.ts")
}

func TestNothingAtHand(t *testing.T) {
	r := newRig(t, func(w http.ResponseWriter, req *http.Request) {
		switch req.URL.Path {
		case "/vary.txt":
			page("x", "Cache-Control", "max-age=60", "Vary", "Accept-Language")(w, req)
		case "/stale.txt":
			page("x", "Cache-Control", "max-age=0", "Etag", `"a"`)(w, req)
		case "/no.txt":
			page("x", "Cache-Control", "no-store")(w, req)
		}
	})
	for _, path := range []string{"/vary.txt", "/stale.txt", "/no.txt", "/never.txt"} {
		if path != "/never.txt" {
			r.get(path)
		}
		if res, body := r.hit(path, false); res != nil {
			t.Errorf("%s: %d %q is at hand", path, res.StatusCode, body)
		}
	}
}

func BenchmarkHitAtHand(b *testing.B) {
	r := newRig(b, page(noise(2000), "Cache-Control", "max-age=600", "Etag", `"a"`, "Content-Type", "video/mp2t"))
	r.get("/a.ts")
	p := &proxy.Plain{Host: "edge", Path: "/a.ts", Viewer: &proxy.Viewer{Path: "/a.ts"}}
	b.ReportAllocs()
	for b.Loop() {
		a := r.Hit(p)
		a.Done(2000)
	}
}
