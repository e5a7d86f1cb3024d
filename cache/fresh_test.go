package cache

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// judgedAt is when the answers of these tests came in.
var judgedAt = time.Date(2026, 11, 22, 12, 0, 0, 0, time.UTC)

// headerOf makes a header of lines such as "Age: 1".
func headerOf(lines ...string) http.Header {
	h := http.Header{}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		h.Add(name, value)
	}
	return h
}

// dateAt is a field's date so long after judgedAt.
func dateAt(after time.Duration) string { return judgedAt.Add(after).Format(http.TimeFormat) }

func judged(asked http.Header, status int, lines ...string) verdict {
	return judge(&http.Request{Method: "GET", Header: asked}, status, headerOf(lines...), judgedAt)
}

func TestRFC9111Section3(t *testing.T) {
	f := func(status int, why obstacle, lines ...string) {
		t.Helper()
		v := judged(nil, status, lines...)
		if v.Why != why || v.Store != (why == "") {
			t.Errorf("%d %q: store %v, why %q, want %q", status, lines, v.Store, v.Why, why)
		}
	}
	f(200, "", "Cache-Control: max-age=1")
	f(200, "", "Cache-Control: max-age=0")
	f(200, "", "Expires: 0")
	f(200, "no lifetime")
	f(200, "no lifetime", "Cache-Control: no-cache")
	f(200, "no lifetime", "Cache-Control: public")
	f(200, "", `Etag: "a"`)
	f(200, "", "Last-Modified: "+dateAt(-time.Hour))
	f(200, "no lifetime", "Last-Modified: yesterday")
	f(206, "", `Etag: "a"`)
	f(206, "multipart", "Content-Type: multipart/byteranges; boundary=x", "Cache-Control: max-age=1")

	// Section 3, "either a heuristically cacheable status, or explicit freshness".
	for _, status := range []int{200, 203, 204, 300, 301, 308, 404, 405, 410, 414, 501} {
		f(status, "", `Etag: "a"`)
		f(status, "", "Cache-Control: max-age=1")
	}
	for _, status := range []int{302, 303, 307, 400, 401, 403, 500, 502, 503, 504} {
		f(status, "no lifetime", `Etag: "a"`)
		f(status, "", "Cache-Control: max-age=1")
		f(status, "", "Expires: "+dateAt(time.Minute))
		f(status, "", "Cache-Control: public", `Etag: "a"`)
	}
	f(299, "", "Cache-Control: max-age=1") // not understood, but said to be cacheable
	f(299, "no lifetime", "Cache-Control: public", `Etag: "a"`)
	for _, status := range []int{0, 100, 101, 103, 199, 226, 304, 407, 412, 416, 417, 428, 429, 431, 511, 600} {
		f(status, "status", "Cache-Control: public, max-age=9")
	}
}

func TestRFC9111Section3_5(t *testing.T) {
	f := func(want obstacle, lines ...string) {
		t.Helper()
		if v := judged(headerOf("Authorization: Basic eDp5"), 200, lines...); v.Why != want {
			t.Errorf("with Authorization, %q: why %q, want %q", lines, v.Why, want)
		}
	}
	f("authorization", "Cache-Control: max-age=9")
	f("", "Cache-Control: max-age=9, public")
	f("", "Cache-Control: s-maxage=9")
	f("", "Cache-Control: max-age=9, must-revalidate")
	f("authorization", "Cache-Control: max-age=9.0, public")
}

func TestRFC9111Section4_1_star(t *testing.T) {
	f := func(want obstacle, lines ...string) {
		t.Helper()
		if v := judged(nil, 200, append(lines, "Cache-Control: max-age=9")...); v.Why != want {
			t.Errorf("%q: why %q, want %q", lines, v.Why, want)
		}
	}
	f("", "Vary: Accept-Encoding")
	f("vary *", "Vary: *")
	f("vary *", "Vary: Accept-Encoding, *")
	f("vary *", "Vary: Accept-Encoding", "Vary: *")
}

func TestRFC9111Section5_2_1_5(t *testing.T) {
	f := func(asked string, want obstacle) {
		t.Helper()
		if v := judged(headerOf(asked), 200, "Cache-Control: max-age=9"); v.Why != want {
			t.Errorf("asked %q: why %q, want %q", asked, v.Why, want)
		}
	}
	f("Cache-Control: no-store", "request no-store")
	f("Cache-Control: max-age=x, NO-STORE", "request no-store")
	f("Cache-Control: no-cache", "")
	f("Pragma: no-store", "")
}

func TestRFC9111Section5_2_2_3(t *testing.T) { // must-understand
	f := func(status int, cacheControl string, want obstacle) {
		t.Helper()
		if v := judged(nil, status, "Cache-Control: "+cacheControl); v.Why != want {
			t.Errorf("%d %q: why %q, want %q", status, cacheControl, v.Why, want)
		}
	}
	f(200, "max-age=9, no-store, must-understand", "")
	f(404, "must-understand, no-store, max-age=9", "")
	f(599, "max-age=9, no-store, must-understand", "must-understand")
	f(599, "max-age=9, must-understand", "must-understand")
	f(200, "no-store, must-understand, private, max-age=9", "private")
	f(200, "no-store, must-understand, max-age=x", "no-store")
}

// What forbids storing is found in whatever a bad origin makes of it.
func TestRFC9111Section5_2_2_5(t *testing.T) { // no-store
	f := func(want obstacle, values ...string) {
		t.Helper()
		v := judge(&http.Request{}, 200, http.Header{"Cache-Control": values}, judgedAt)
		if v.Why != want {
			t.Errorf("%q: why %q, want %q", values, v.Why, want)
		}
	}
	f("no-store", "no-store")
	f("no-store", "max-age=9, No-Store")
	f("no-store", "max-age=9", "no-store")
	f("no-store", "max-age=9.0, no-store")
	f("no-store", `no-store="x"`)
	f("no-store", "no-store=1")
	f("no-store", "public;no-store, max-age=9")
	f("no-store", "max-age=9; no-store")
	f("no-store", "no-cache=a,no-store")
	f("no-store", `a="b, no-store`)
	f("no-store", `a="\"", no-store`)
	f("no-store", "\xff, no-store\x00")
	f("", `max-age=9, a="no-store"`)
	f("", `max-age=9, a="\", no-store"`)
	f("", "max-age=9, no-stores, x-no-store")
}

func TestRFC9111Section5_2_2_7(t *testing.T) { // private
	f := func(cacheControl string) {
		t.Helper()
		if v := judged(nil, 200, "Cache-Control: "+cacheControl); v.Why != "private" {
			t.Errorf("%q: why %q, want private", cacheControl, v.Why)
		}
	}
	f("private")
	f("PRIVATE, max-age=9")
	f(`private="set-cookie", max-age=9`)
	f("no-cache=a,private")
	f("max-age=-1, private")
	f("s-maxage=9, public, private")
}

func TestVerdictFlags(t *testing.T) {
	f := func(cacheControl string, want verdict) {
		t.Helper()
		got := judged(nil, 200, "Cache-Control: "+cacheControl)
		if want.SWR == 0 {
			want.SWR = -1
		}
		if want.SIE == 0 {
			want.SIE = -1
		}
		want.Store, want.Explicit = true, true
		if got != want {
			t.Errorf("%q: %+v, want %+v", cacheControl, got, want)
		}
	}
	const s = time.Second
	f("max-age=9", verdict{Fresh: 9 * s})
	f("max-age=9, public", verdict{Fresh: 9 * s, Shared: true})
	f("max-age=9, must-revalidate", verdict{Fresh: 9 * s, Must: true})
	f("max-age=9, proxy-revalidate", verdict{Fresh: 9 * s, Must: true})
	f("max-age=5, s-maxage=9", verdict{Fresh: 9 * s, Must: true, Shared: true})
	f("max-age=9, no-cache", verdict{Fresh: 9 * s, NoCache: true})
	f(`max-age=9, no-cache="Set-Cookie"`, verdict{Fresh: 9 * s, NoCache: true})
	f("max-age=9, no-cache=Set-Cookie", verdict{Fresh: 9 * s, NoCache: true})
	f("max-age=9, immutable", verdict{Fresh: 9 * s, Immutable: true})
	f("max-age=9, stale-while-revalidate=2, stale-if-error=3", verdict{Fresh: 9 * s, SWR: 2 * s, SIE: 3 * s})
	f("max-age=x, must-revalidate, stale-if-error=3", verdict{Must: true})
	f("max-age=9, immutable=1, no-cache", verdict{NoCache: true})
}
