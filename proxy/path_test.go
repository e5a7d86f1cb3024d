package proxy_test

import (
	"net/url"
	"path"
	"strings"
	"testing"
	"unicode/utf8"

	"weir/proxy"
	"weir/proxy/wire"
)

func TestCleanPath(t *testing.T) {
	f := func(escaped, want string) {
		t.Helper()
		got, err := proxy.CleanPath(escaped)
		if err != nil || got != want {
			t.Errorf("CleanPath(%.60q) = %.60q, %v, want %.60q", escaped, got, err, want)
		}
	}
	f("", "/")
	f("/", "/")
	f("//", "/")
	f("cam", "/cam")
	f("/cam", "/cam")
	f("/cam/", "/cam")
	f("/cam///", "/cam")
	f("//cam//1", "/cam/1")
	f("/./cam/./1/.", "/cam/1")
	f("/%2e/cam", "/cam")
	f("/cam%20door", "/cam door")
	f("/t%C3%BCr", "/tür")
	f("/tür", "/tür")
	f("/a+b", "/a+b")
	f("/a;b=c,d:80@e", "/a;b=c,d:80@e")
	f("/a%3Fb%23c", "/a?b#c")
	f("/%252e%252e", "/%2e%2e") // decoded once
	f("/a%252fb", "/a%2fb")
	f("/...", "/...")
	f("/..a/b..", "/..a/b..")
	f("/%F0%9F%8E%A5", "/🎥")
	f("/"+strings.Repeat("a", 1023), "/"+strings.Repeat("a", 1023))
	f(strings.Repeat("%61", 1023), "/"+strings.Repeat("a", 1023))
}

func TestCleanPathRefuses(t *testing.T) {
	f := func(escaped string) {
		t.Helper()
		if got, err := proxy.CleanPath(escaped); err == nil {
			t.Errorf("CleanPath(%.60q) = %.60q, want an error", escaped, got)
		}
	}
	f("..")
	f("/..")
	f("/a/../b")
	f("/a/..")
	f("/%2e%2e/etc/passwd")
	f("/%2E./a")
	f("/.%2e")
	f("/a%2fb")
	f("/a%2Fb")
	f("/..%2fa")
	f("/a%5cb")
	f("/a%5Cb")
	f(`/a\b`)
	f(`/..\a`)
	f("/a%00")
	f("/a\x00b")
	f("/a%0d%0aX:%20y")
	f("/a\nb")
	f("/a%1b")
	f("/a%7f")
	f("/a%ff")         // invalid UTF-8
	f("/a\xff")        // the same, bare
	f("/%c0%ae")       // overlong dot
	f("/%c0%af")       // overlong slash
	f("/%ed%a0%80")    // a surrogate
	f("/%f5%80%80%80") // beyond Unicode
	f("/a%")
	f("/a%2")
	f("/a%zz")
	f("/" + strings.Repeat("a", 1024))
	f(strings.Repeat("a", 1024)) // the slash counts
	f(strings.Repeat("/", 1025))
}

func FuzzCleanPath(f *testing.F) {
	for _, s := range []string{"", "/", "/cam/1", "//a/./b/", "/..", "/%2e%2e/x", "/a%2fb", "/a%5cb", "/%252f", "/%c0%ae%c0%ae",
		"/\x00", "/%ff", "/tür/%F0%9F%8E%A5", "/a b;c=d?e#f", "%", "/...", strings.Repeat("a", 1024), strings.Repeat("/a", 600)} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, escaped string) {
		p, err := proxy.CleanPath(escaped)
		if err != nil {
			return
		}
		again, err := proxy.CleanPath((&url.URL{Path: p}).EscapedPath())
		if err != nil || again != p {
			t.Errorf("CleanPath(%q) = %q, and of that %q, %v", escaped, p, again, err)
		}
		if p[0] != '/' || path.Clean(p) != p || len(p) > 1024 || !utf8.ValidString(p) || strings.ContainsAny(p, "\\\x00\r\n") {
			t.Errorf("CleanPath(%q) = %q is not canonical", escaped, p)
		}
		for s := range strings.SplitSeq(p[1:], "/") {
			if s == ".." || s == "." || s == "" && p != "/" {
				t.Errorf("CleanPath(%q) = %q has segment %q", escaped, p, s)
			}
		}
	})
}

func TestCleanHTTPPath(t *testing.T) {
	f := func(escaped, want string) {
		t.Helper()
		got, err := proxy.CleanHTTPPath(escaped)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("CleanHTTPPath(%q) = %q, %v, want %q", escaped, got, err, want)
		}
	}
	f("", "/")
	f("/", "/")
	f("//", "/")
	f("/a", "/a")
	f("/a//", "/a/")
	f("/a/./b%20c/", "/a/b c/")
	f("/a/../", "")
	f("/%2f/", "")
}

func BenchmarkCleanPath(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		if _, err := proxy.CleanPath("/live/camera-17/trackID=1"); err != nil {
			b.Fatal(err)
		}
	}
}

func TestRedact(t *testing.T) {
	f := func(raw, want string) {
		t.Helper()
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if got := proxy.Redact(u); got != want {
			t.Errorf("Redact(%q) = %q, want %q", raw, got, want)
		}
	}
	f("rtsp://10.0.0.9/cam", "rtsp://10.0.0.9/cam")
	f("rtsp://admin:secret@10.0.0.9:8554/cam", "rtsp://10.0.0.9:8554/cam")
	f("http://h/a?token=secret#secret", "http://h/a")
	f("rtsp://[::1]:554/t%C3%BCr", "rtsp://[::1]:554/t%C3%BCr")
	f("/a?token=secret", "/a")
	f("", "")
	if got := proxy.Redact(nil); got != "" {
		t.Errorf("Redact(nil) = %q", got)
	}
}

func TestRequestTarget(t *testing.T) {
	f := func(method, url, want string) {
		t.Helper()
		got, _, err := proxy.RequestTarget(&wire.Request{Method: method, URL: url})
		if got != want || (err != nil) != (want == "") {
			t.Errorf("RequestTarget(%s %s) = %q, %v, want %q", method, url, got, err, want)
		}
	}
	f("DESCRIBE", "rtsp://edge/cam", "/cam")
	f("DESCRIBE", "rtsp://edge:8554//a/./cam/?token=x", "/a/cam")
	f("DESCRIBE", "rtsp://edge/cam/trackID=1", "/cam/trackID=1")
	f("DESCRIBE", "rtsp://edge/a%20b", "/a b")
	f("DESCRIBE", "/cam", "/cam")
	f("DESCRIBE", "rtsp://edge", "/")
	f("SETUP", "rtsp://edge/cam/trackID=1", "/cam")
	f("SETUP", "rtsp://edge/cam/trackID=x", "/cam/trackID=x")
	f("SETUP", "rtsp://edge/cam?token=x/trackID=0", "/cam")
	f("SETUP", "rtsp://edge/cam", "/cam")
	f("SETUP", "rtsp://edge/trackID=0", "/")
	f("DESCRIBE", "rtsp://edge/a%2Fb", "")
	f("DESCRIBE", "rtsp://edge/a/../b", "")
	f("DESCRIBE", "rtsp://edge/%zz", "")
}
