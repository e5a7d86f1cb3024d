package cache

import (
	"strings"
	"testing"
	"time"
)

func TestUsability(t *testing.T) {
	f := func(cacheControl string, age time.Duration, asked string, want usability) {
		t.Helper()
		v := judged(nil, 200, "Cache-Control: "+cacheControl)
		if got := v.usability(age, directivesOf(headerOf(asked))); got != want {
			t.Errorf("%q of %v, asked with %q: %v, want %v", cacheControl, age, asked, got, want)
		}
	}
	const s = time.Second
	const plain = "X: y"

	// RFC 9111 §4.2: fresh while the lifetime is greater than the age.
	f("max-age=9", 0, plain, usable)
	f("max-age=9", 9*s-1, plain, usable)
	f("max-age=9", 9*s, plain, spent)
	f("max-age=0", 0, plain, spent)

	// RFC 9111 §5.2.1.1, max-age
	f("max-age=9", 5*s, "Cache-Control: max-age=5", usable)
	f("max-age=9", 5*s+1, "Cache-Control: max-age=5", spent)
	f("max-age=9", 1, "Cache-Control: max-age=0", spent)
	f("max-age=9", 10*s, "Cache-Control: max-age=20", spent)
	f("max-age=9", 10*s, "Cache-Control: max-age=20, max-stale=2", usable)
	f("max-age=9", 10*s, "Cache-Control: max-age=5, max-stale=2", spent)

	// RFC 9111 §5.2.1.2, max-stale
	f("max-age=9", 11*s, "Cache-Control: max-stale=2", usable)
	f("max-age=9", 11*s+1, "Cache-Control: max-stale=2", spent)
	f("max-age=9", 99999*time.Hour, "Cache-Control: max-stale", usable)
	f("max-age=9, must-revalidate", 10*s, "Cache-Control: max-stale", spent)
	f("max-age=9, proxy-revalidate", 10*s, "Cache-Control: max-stale", spent)
	f("s-maxage=9", 10*s, "Cache-Control: max-stale", spent)
	f("max-age=9, no-cache", 1, "Cache-Control: max-stale", spent)

	// RFC 9111 §5.2.1.3, min-fresh
	f("max-age=9", 5*s, "Cache-Control: min-fresh=4", usable)
	f("max-age=9", 5*s+1, "Cache-Control: min-fresh=4", spent)
	f("max-age=9, stale-while-revalidate=9", 10*s, "Cache-Control: min-fresh=0", spent)

	// RFC 9111 §5.2.1.4 and §5.4, no-cache and Pragma
	f("max-age=9", 1, "Cache-Control: no-cache", spent)
	f("max-age=9", 1, "Pragma: no-cache", spent)
	f("max-age=9, stale-while-revalidate=9", 10*s, "Cache-Control: no-cache", spent)

	// RFC 9111 §5.2.2.4, no-cache of the origin
	f("max-age=9, no-cache", 0, plain, spent)
	f("max-age=9, no-cache, immutable, stale-while-revalidate=9", 0, plain, spent)

	// RFC 5861 §3
	f("max-age=9, stale-while-revalidate=3", 8*s, plain, usable)
	f("max-age=9, stale-while-revalidate=3", 9*s, plain, lingering)
	f("max-age=9, stale-while-revalidate=3", 12*s-1, plain, lingering)
	f("max-age=9, stale-while-revalidate=3", 12*s, plain, spent)
	f("max-age=9, stale-while-revalidate=3", 13*s, "Cache-Control: max-stale=9", usable)
	f("max-age=9, stale-while-revalidate=0", 9*s, plain, spent)
	f("max-age=9, stale-while-revalidate=3, must-revalidate", 9*s, plain, spent)
	f("max-age=9, stale-while-revalidate=3", 10*s, "Cache-Control: max-age=60", spent)

	// RFC 8246 §2
	f("max-age=9, immutable", 8*s, "Cache-Control: no-cache", usable)
	f("max-age=9, immutable", 8*s, "Cache-Control: max-age=0", usable)
	f("max-age=9, immutable", 8*s, "Cache-Control: max-age=5", spent)
	f("max-age=9, immutable", 8*s, "Cache-Control: no-cache, min-fresh=5", spent)
	f("max-age=9, immutable", 9*s, "Cache-Control: no-cache", spent)
	f("max-age=9, immutable, stale-while-revalidate=9", 9*s, "Cache-Control: no-cache", spent)
}

func TestRFC9111Section4_2_4(t *testing.T) {
	f := func(cacheControl string, age time.Duration, gone, want bool) {
		t.Helper()
		v := judged(nil, 200, "Cache-Control: "+cacheControl)
		if got := v.onError(age, gone); got != want {
			t.Errorf("%q of %v, gone %v: %v, want %v", cacheControl, age, gone, got, want)
		}
	}
	const s = time.Second
	f("max-age=9", 10*s, true, true)
	f("max-age=9", 9999*time.Hour, true, true)
	f("max-age=9", 10*s, false, false)
	f("max-age=9", 8*s, false, true)
	for _, gone := range []bool{false, true} { // RFC 5861 §4
		f("max-age=9, stale-if-error=3", 12*s-1, gone, true)
		f("max-age=9, stale-if-error=3", 12*s, gone, false)
		f("max-age=9, stale-if-error=0", 9*s, gone, false)
		for _, never := range []string{"must-revalidate", "proxy-revalidate", "s-maxage=9", "no-cache"} {
			f("max-age=9, stale-if-error=3, "+never, 10*s, gone, false)
		}
		f("max-age=9, must-revalidate", 8*s, gone, true)
		f("max-age=9, no-cache", 8*s, gone, false)
	}
}

func TestRFC9111Section5_2_1(t *testing.T) {
	f := func(want directives, lines ...string) {
		t.Helper()
		if got := directivesOf(headerOf(lines...)); got != want {
			t.Errorf("directivesOf(%q) = %+v, want %+v", lines, got, want)
		}
	}
	const s = time.Second
	f(directives{maxAge: -1, minFresh: -1, maxStale: -1})
	f(directives{maxAge: 1 * s, minFresh: 2 * s, maxStale: 3 * s}, "Cache-Control: max-age=1, min-fresh=2, max-stale=3")
	f(directives{maxAge: -1, minFresh: -1, maxStale: forever}, "Cache-Control: max-stale")
	f(directives{noCache: true, onlyIfCached: true, noStore: true, maxAge: 0, minFresh: -1, maxStale: -1},
		"Cache-Control: no-cache, max-age=0", "Cache-Control: Only-If-Cached, no-store")
	f(directives{noCache: true, maxAge: -1, minFresh: -1, maxStale: -1}, "Cache-Control: max-age=x, no-cache")
	f(directives{maxAge: -1, minFresh: -1, maxStale: -1}, "Cache-Control: max-age=0.5")
	f(directives{noCache: true, maxAge: -1, minFresh: -1, maxStale: -1}, "Pragma: No-Cache, no-store")
	f(directives{maxAge: 5 * s, minFresh: -1, maxStale: -1}, "Pragma: no-cache", "Cache-Control: max-age=5")
}

// A megabyte of quotes must not keep anybody waiting: the parser would take minutes.
func TestLongDirectives(t *testing.T) {
	long := "Cache-Control: max-age=9, no-cache, " + strings.Repeat(`a="",`, 1<<20/5)
	if d, want := directivesOf(headerOf(long)), (directives{noCache: true, maxAge: -1, minFresh: -1, maxStale: -1}); d != want {
		t.Errorf("of a request: %+v, want %+v", d, want)
	}
	if v := judged(nil, 200, long); !v.Store || v.Fresh != 0 || !v.Explicit || !v.NoCache {
		t.Errorf("of an answer: %+v, want it stale at once, and no-cache found", v)
	}
	if v := judged(nil, 200, long, "Cache-Control: no-store"); v.Store {
		t.Error("no-store at its end is not found")
	}
}

// BenchmarkHitDecision is what is decided of a hit: no allocation.
func BenchmarkHitDecision(b *testing.B) {
	v := judged(nil, 200, "Cache-Control: max-age=9, immutable")
	stored := headerOf(`Etag: "abc"`, "Last-Modified: "+dateAt(-time.Hour), "Date: "+dateAt(0))
	f := func(name string, lines ...string) {
		b.Run(name, func(b *testing.B) {
			asked := headerOf(lines...)
			b.ReportAllocs()
			for b.Loop() {
				if v.usability(time.Second, directivesOf(asked)) != usable {
					b.Fatal("not usable")
				}
				conditions(asked, stored)
				rangeHolds(asked, stored)
			}
		})
	}
	f("plain", "Range: bytes=0-99", "Accept: */*")
	f("etag", `If-None-Match: "x", W/"abc"`)
	f("date", "If-Modified-Since: "+dateAt(-time.Hour))
	f("range", `If-Range: "abc"`, "Range: bytes=0-99")
}

func TestHitDecisionDoesNotAllocate(t *testing.T) {
	v := judged(nil, 200, "Cache-Control: max-age=9")
	stored := headerOf(`Etag: "abc"`, "Last-Modified: "+dateAt(-time.Hour), "Date: "+dateAt(0))
	f := func(lines ...string) {
		t.Helper()
		asked := headerOf(lines...)
		n := testing.AllocsPerRun(100, func() {
			v.usability(time.Second, directivesOf(asked))
			conditions(asked, stored)
			rangeHolds(asked, stored)
			codings(asked)
		})
		if n != 0 {
			t.Errorf("asked with %q: %v allocations, want none", lines, n)
		}
	}
	f()
	f("Accept-Encoding: gzip, deflate;q=0.5, br;q=1.0, *;q=0")
	f(`If-None-Match: "x", W/"abc"`)
	f("If-Modified-Since: " + dateAt(-time.Hour))
	f("If-Unmodified-Since: "+dateAt(-time.Hour), "If-Range: "+dateAt(-time.Hour))
}
