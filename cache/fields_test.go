package cache

import (
	"net/http"
	"reflect"
	"slices"
	"testing"
)

func TestRFC9111Section3_1(t *testing.T) {
	h := headerOf("Age: 7", "Content-Length: 9", "Content-Range: bytes 0-8/9", "Transfer-Encoding: chunked",
		"Trailer: X-Sum", "Keep-Alive: timeout=5", "Proxy-Authenticate: Basic", "Proxy-Authentication-Info: x",
		"Proxy-Authorization: x", "Proxy-Connection: close", "Te: trailers", "Upgrade: h2c",
		"Connection: close, x-hop", "Connection: X-Other, Cache-Control, content-type, ETag", "X-Hop: 1", "X-Other: 1",
		"Cache-Control: max-age=9", "Content-Type: video/mp4", "Content-Encoding: gzip", `Etag: "a"`, "Date: now",
		"Alt-Svc: h3", "Via: 1.1 a", "Via: 1.1 b", "Proxy-Status: a; error=dns_error")
	want := headerOf("Cache-Control: max-age=9", "Content-Type: video/mp4", "Content-Encoding: gzip", `Etag: "a"`,
		"Date: now", "Alt-Svc: h3", "Via: 1.1 a", "Via: 1.1 b", "Proxy-Status: a; error=dns_error")
	got := storable(h)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("storable: %v, want %v", got, want)
	}
	got["Via"][0] = "changed"
	if h["Via"][0] != "1.1 a" || h.Get("X-Hop") == "" {
		t.Error("storable shares with, or has changed, what it was given")
	}
	if got := storable(nil); got == nil {
		t.Error("storable(nil) is nil, want a header that may be added to")
	}
}

func TestRFC9111Section3_2(t *testing.T) {
	stored := headerOf("Content-Type: text/plain", "Content-Encoding: gzip", `Etag: "a"`, "X-Kept: 1",
		"X-Lines: 1", "X-Lines: 2", "Cache-Control: max-age=1", "Age: 5")
	update := headerOf("Content-Type: text/html", "Content-Encoding: br", "Content-Length: 0", "Content-Range: bytes 0-0/1",
		"X-Lines: 3", "X-New: 1", "Cache-Control: max-age=2", "Age: 9", "Connection: X-Hop", "X-Hop: 1")
	want := headerOf("Content-Type: text/html", "Content-Encoding: gzip", `Etag: "a"`, "X-Kept: 1",
		"X-Lines: 3", "X-New: 1", "Cache-Control: max-age=2")
	got := freshened(stored, update)
	if !reflect.DeepEqual(got, want) {
		t.Errorf("freshened: %v, want %v", got, want)
	}
	got["X-Kept"][0], got["X-New"][0] = "changed", "changed"
	if stored.Get("X-Kept") != "1" || update.Get("X-New") != "1" || stored.Get("X-Lines") != "1" {
		t.Error("freshened shares with, or has changed, what it was given")
	}
}

func TestTagsOf(t *testing.T) {
	f := func(want []string, lines ...string) {
		t.Helper()
		if got := tagsOf(headerOf(lines...)); !slices.Equal(got, want) {
			t.Errorf("tagsOf(%q) = %q, want %q", lines, got, want)
		}
	}
	f(nil)
	f([]string{"a", "b", "c"}, "Surrogate-Key: b  a", "Surrogate-Key: c a")
	f([]string{"a b", "c"}, "Cache-Tag: c ,a b,,c")
	f([]string{"a", "b,c", "d"}, "Surrogate-Key: b,c a", "Cache-Tag: a, d")
}

func TestVaryOf(t *testing.T) {
	f := func(want []string, all bool, lines ...string) {
		t.Helper()
		got, star := varyOf(headerOf(lines...))
		if !slices.Equal(got, want) || star != all {
			t.Errorf("varyOf(%q) = %q, %v, want %q, %v", lines, got, star, want, all)
		}
	}
	f(nil, false)
	f(nil, false, "Vary: ")
	f([]string{"Accept-Encoding", "Origin"}, false, "Vary: origin,ACCEPT-ENCODING", "Vary: Origin")
	f(nil, true, "Vary: *")
	f([]string{"Origin"}, true, "Vary: Origin, *")
	f([]string{"Origin"}, true, "Vary: Origin", "Vary: *")
	f(nil, true, "Vary: Accept Origin")
}

func TestRFC9111Section4_1(t *testing.T) {
	f := func(same bool, names []string, one, other http.Header) {
		t.Helper()
		a, b := variantOf(names, one), variantOf(names, other)
		if (a == b) != same {
			t.Errorf("variantOf(%q) of %v and %v: %q and %q, want the same: %v", names, one, other, a, b, same)
		}
	}
	foo := []string{"Foo"}
	f(true, nil, headerOf("Foo: 1"), headerOf("Foo: 2"))
	f(true, foo, headerOf("Foo: 1"), headerOf("Foo: 1", "Bar: 2"))
	f(false, foo, headerOf("Foo: 1"), headerOf("Foo: 2"))
	f(false, foo, headerOf("Foo: a"), headerOf("Foo: A"))
	f(false, foo, headerOf(), headerOf("Foo: "))
	f(true, foo, headerOf(), headerOf("Bar: 1"))
	f(true, foo, headerOf("Foo: 1,2"), headerOf("Foo:  1 , 2 "))
	f(true, foo, headerOf("Foo: 1, 2"), headerOf("Foo: 1", "Foo: 2"))
	f(false, foo, headerOf("Foo: 1, 2"), headerOf("Foo: 2, 1"))
	f(false, foo, headerOf("Foo: a;b"), headerOf("Foo: a; b"))
	f(false, foo, headerOf(`Foo: "a,b"`), headerOf(`Foo: "a, b"`))
	f(false, []string{"Bar", "Foo"}, headerOf("Bar: 1"), headerOf("Foo: 1"))

	lang := []string{"Accept-Language"}
	f(true, lang, headerOf("Accept-Language: en-GB;q=0.5, de"), headerOf("Accept-Language: EN-gb ; Q=0.5,de"))
	f(false, lang, headerOf("Accept-Language: en, de"), headerOf("Accept-Language: de, en"))

	coding := []string{"Accept-Encoding"}
	f(true, coding, headerOf("Accept-Encoding: gzip, deflate, br"), headerOf("Accept-Encoding: br;q=1.0, GZIP;q=0.8"))
	f(true, coding, headerOf(), headerOf("Accept-Encoding: identity"))
	f(false, coding, headerOf("Accept-Encoding: gzip"), headerOf("Accept-Encoding: br"))
}

func TestRFC9110Section12_5_3(t *testing.T) { // Accept-Encoding
	f := func(want string, values ...string) {
		t.Helper()
		if got := codings(http.Header{"Accept-Encoding": values}); got != want {
			t.Errorf("codings(%q) = %q, want %q", values, got, want)
		}
	}
	f("")
	f("", "")
	f("", "identity, deflate")
	f("gzip", "gzip")
	f("gzip", "x-gzip")
	f("br, gzip", "gzip, deflate, br")
	f("br, gzip", "gzip", "br")
	f("br, gzip, zstd", "zstd;q=0.1,br ; q=0.5, gzip;q=1.000")
	f("br, zstd", "br, gzip;q=0, zstd")
	f("br, zstd", "*, gzip;Q=0.000")
	f("gzip", "gzip, *;q=0")
	f("", "*;q=0")
	f("br, gzip, zstd", "*")
	f("br", "br, gzip;q=x, zstd;q=")
	f("br, zstd", "gzip;q=0, *;q=0.1")
}

func TestRFC9111Section4_4(t *testing.T) {
	f := func(want []string, method string, status int, lines ...string) {
		t.Helper()
		req, err := http.NewRequest(method, "/a/b.m3u8?x=1", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Host = "Edge.example:80"
		others, ok := invalidated(req, status, headerOf(lines...))
		if !slices.Equal(texts(others), want) || ok != (want != nil) {
			t.Errorf("%s, %d, %q: %q, %v, want %q", method, status, lines, others, ok, want)
		}
	}
	none := []string{}
	for _, safe := range []string{"GET", "HEAD", "OPTIONS", "TRACE", "PROPFIND", "REPORT", "SEARCH"} {
		f(nil, safe, 200, "Location: /c")
	}
	for _, unsafe := range []string{"POST", "PUT", "DELETE", "PATCH", "PURGE", "get", "M-SEARCH"} {
		f(none, unsafe, 200)
	}
	for _, status := range []int{101, 400, 404, 500, 503} {
		f(nil, "POST", status, "Location: /c")
	}
	f([]string{"/c"}, "POST", 201, "Location: /c")
	f([]string{"/c"}, "POST", 303, "Location: /c", "Content-Location: /c")
	f([]string{"/c", "/d?y=2&x=1"}, "POST", 204, "Location: /c", "Content-Location: /d?y=2&x=1#top")
	f([]string{"/a/c"}, "POST", 200, "Content-Location: c")
	f([]string{"/c"}, "POST", 200, "Content-Location: ../../c")
	f([]string{"/a/b.m3u8?y=2"}, "POST", 200, "Content-Location: ?y=2")
	f([]string{"/a/b.m3u8"}, "POST", 200, "Content-Location: /a/b.m3u8")
	f(none, "POST", 200, "Content-Location: /a/b.m3u8?x=1")
	f(none, "POST", 200, "Content-Location: #top")
	f([]string{"/c d"}, "POST", 200, "Location: https://edge.EXAMPLE:443/c%20d")
	f([]string{"/c"}, "POST", 200, "Location: //edge.example/c")
	f([]string{"/c/"}, "POST", 200, "Location: http://edge.example/x/../c/")
	f([]string{"/"}, "POST", 200, "Location: http://edge.example")
	f([]string{"/c%3Fd?e"}, "POST", 200, "Location: /c%3Fd?e")
	for _, other := range []string{
		"http://other.example/c", "http://edge.example:8080/c", "ftp://edge.example/c", "mailto:a@b", "http:c", "://",
		"/c%2fd", "/%zz", "/a%5cb", "",
	} {
		f(none, "POST", 200, "Location: "+other)
	}
}
