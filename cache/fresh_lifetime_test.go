package cache

import (
	"net/http"
	"testing"
	"time"
)

func TestRFC9111Section4_2_1(t *testing.T) {
	f := func(want time.Duration, explicit bool, lines ...string) {
		t.Helper()
		v := judged(nil, 200, lines...)
		if v.Fresh != want || v.Explicit != explicit {
			t.Errorf("%q: fresh %v, explicit %v, want %v, %v", lines, v.Fresh, v.Explicit, want, explicit)
		}
	}
	const s = time.Second
	f(4*s, true, "Cache-Control: max-age=4")
	f(4*s, true, `Cache-Control: MAX-AGE="4"`)
	f(9*s, true, "Cache-Control: max-age=4, s-maxage=9")
	f(0, true, "Cache-Control: max-age=4, s-maxage=0")
	f(4*s, true, "Cache-Control: public", "Cache-Control: max-age=4")
	f(forever-s, true, "Cache-Control: max-age=99999999999999999999")
	f(4*s, true, "Cache-Control: max-age=4", "Expires: "+dateAt(time.Hour))
	f(4*s, true, "Cache-Control: max-age=4", "Expires: 0")
	f(4*s, true, "Cache-Control: max-age=4", "Cache-Control: max-age=4")
	f(0, true, "Cache-Control: max-age=4, max-age=5")
	f(0, true, "Cache-Control: max-age=5", "Cache-Control: max-age=4")
	f(0, true, "Cache-Control: s-maxage=4, max-age=9, s-maxage=5")

	// What cannot be read is stale at once, and not "nothing said".
	changed := "Last-Modified: " + dateAt(-1000*s)
	for _, bad := range []string{
		"max-age=3600.0", "max-age=-1", "max-age=", "max-age", "max-age =9", "max-age=+9", "max-age=9s",
		"max-age=9;public", "immutable=1, max-age=9", `a="b, max-age=9`, "s-maxage=x, max-age=9",
	} {
		f(0, true, "Cache-Control: "+bad, changed)
		f(0, true, "Cache-Control: "+bad, "Expires: "+dateAt(time.Hour))
	}
}

func TestRFC9111Section4_2_2(t *testing.T) {
	f := func(status int, want time.Duration, lines ...string) {
		t.Helper()
		v := judged(nil, status, lines...)
		if v.Fresh != want || v.Explicit {
			t.Errorf("%d %q: fresh %v, explicit %v, want %v by guess", status, lines, v.Fresh, v.Explicit, want)
		}
	}
	hour := "Last-Modified: " + dateAt(-time.Hour)
	f(200, 6*time.Minute, hour)
	f(206, 6*time.Minute, hour)
	f(404, 6*time.Minute, hour)
	f(302, 0, hour)
	f(302, 6*time.Minute, hour, "Cache-Control: public")
	f(299, 0, hour, "Cache-Control: public")
	f(200, 3*time.Minute, hour, "Date: "+dateAt(-30*time.Minute))
	f(200, 24*time.Hour, "Last-Modified: "+dateAt(-10000*time.Hour))
	f(200, 0, "Last-Modified: "+dateAt(time.Hour))
	f(200, 0, "Last-Modified: "+dateAt(-time.Hour)[:20])
	f(200, 0, hour, hour)
	f(200, 0, `Etag: "a"`)
	f(200, 24*time.Hour, "Last-Modified: Mon, 01 Jan 0001 00:00:00 GMT")
}

func TestRFC9111Section5_3(t *testing.T) { // Expires
	f := func(want time.Duration, lines ...string) {
		t.Helper()
		h := headerOf(lines...)
		h.Set("Last-Modified", dateAt(-100*time.Hour)) // to be guessed from, wrongly
		v := judge(&http.Request{}, 200, h, judgedAt)
		if v.Fresh != want || !v.Explicit {
			t.Errorf("%q: fresh %v, explicit %v, want %v", lines, v.Fresh, v.Explicit, want)
		}
	}
	const s = time.Second
	f(9*s, "Expires: Sun, 22 Nov 2026 12:00:09 GMT")
	f(9*s, "Expires: sun, 22 nov 2026 12:00:09 gmt")
	f(9*s, "Expires: Sunday, 22-Nov-26 12:00:09 GMT")
	f(9*s, "Expires: Sun Nov 22 12:00:09 2026")
	f(69*s, "Expires: Sun, 22 Nov 2026 12:00:09 GMT", "Date: "+dateAt(-time.Minute))
	f(0, "Expires: Sun, 22 Nov 2026 12:00:09 GMT", "Date: "+dateAt(time.Minute))
	f(9*s, "Expires: Sun, 22 Nov 2026 12:00:09 GMT", "Date: now")
	f(0, "Expires: Sun, 22 Nov 2026 11:59:59 GMT")
	f(forever, "Expires: Fri, 31 Dec 9999 23:59:59 GMT")
	for _, bad := range []string{
		"0", "-1", "", "x", "Sun, 22 Nov 2027 12:00:09 GMT", // that is a Monday
		"Sun, 22 Nov 2026 9:00:09 GMT", "Sun, 22 Nov 2026 12:00:09 UTC", "Sun, 22 Nov 2026 13:00:09 CET",
		"Sun, 22 Nov 2026 12:00:09", "Sun, 22 Nov 2026 12:00:09.5 GMT", "Sun, 22 Nov 2026 12:00:09 +0000",
		"Sun, 2 Nov 2027 12:00:09 GMT", "Sun, 22-Nov-2026 12:00:09 GMT", "Sun,  22 Nov 2026 12:00:09 GMT",
		"22 Nov 2026 12:00:09 GMT", "Sun, 22 Nov 2026 12:00:60 GMT", "Sun, 22 Nov 2026 12:00:09  GMT", " GMT",
	} {
		f(0, "Expires: "+bad)
	}
	f(0, "Expires: "+dateAt(time.Hour), "Expires: "+dateAt(time.Hour))
}

func TestRFC9111Section4_2_3(t *testing.T) {
	const s = time.Second
	f := func(delay, want time.Duration, lines ...string) {
		t.Helper()
		answered := judgedAt.Add(s / 2)
		if got := initialAge(headerOf(lines...), answered.Add(-delay), answered); got != want {
			t.Errorf("initialAge(%q, %v late) = %v, want %v", lines, delay, got, want)
		}
	}
	f(0, 0)
	f(2*s, 2*s)
	f(2*s, 9*s, "Age: 7")
	f(0, 0, "Date: "+dateAt(0)) // the same second
	f(0, 3*s, "Date: "+dateAt(-3*s))
	f(2*s, 9*s, "Age: 7", "Date: "+dateAt(-3*s))
	f(2*s, 30*s, "Age: 7", "Date: "+dateAt(-30*s))
	f(0, 0, "Date: "+dateAt(time.Hour))
	f(-s, 0)
	f(0, forever, "Date: Mon, 01 Jan 0001 00:00:00 GMT")
	f(0, 0, "Date: then")
}

func TestRFC9111Section5_1(t *testing.T) { // Age
	f := func(want time.Duration, values ...string) {
		t.Helper()
		if got := ageIn(http.Header{"Age": values}); got != want*time.Second {
			t.Errorf("ageIn(%q) = %v, want %v s", values, got, int64(want))
		}
	}
	f(0)
	f(7, "7")
	f(7, " 7\t")
	f(7, "007")
	f(7, "7, 9")
	f(7, "7", "9")
	f(1<<31, "2147483648")
	f(1<<31, "99999999999999999999999999")
	for _, bad := range []string{"", "-7", "+7", "7.0", "7s", "x", "7;a=b", "0x7", `"7"`, "7 8", ", 7", "٧"} {
		f(0, bad)
	}
}

func TestRFC9213(t *testing.T) { // CDN-Cache-Control
	f := func(want time.Duration, why obstacle, lines ...string) {
		t.Helper()
		v := judged(nil, 200, lines...)
		if v.Fresh != want || v.Why != why {
			t.Errorf("%q: fresh %v, why %q, want %v, %q", lines, v.Fresh, v.Why, want, why)
		}
	}
	const s = time.Second
	plain, gone := "Cache-Control: max-age=4", "Expires: "+dateAt(-time.Hour)
	f(9*s, "", "CDN-Cache-Control: max-age=9", plain, gone)
	f(9*s, "", "CDN-Cache-Control: public, max-age=9", "Cache-Control: no-store, private")
	f(9*s, "", "CDN-Cache-Control: max-age=9;a=b, c=(1 2)", plain)
	f(8*s, "", "CDN-Cache-Control: max-age=9", "CDN-Cache-Control: max-age=8", plain)
	f(forever, "", "CDN-Cache-Control: max-age=999999999999999", plain)
	f(0, "", "CDN-Cache-Control: max-age=-1", plain)
	f(9*s, "no-store", "CDN-Cache-Control: no-store, max-age=9", plain)
	f(9*s, "private", "CDN-Cache-Control: private=(\"a\"), max-age=9", plain)
	f(0, "no lifetime", "CDN-Cache-Control: public", plain, "Expires: "+dateAt(time.Hour))
	f(0, "", "CDN-Cache-Control: public", plain, gone, `Etag: "a"`)
	for _, bad := range []string{
		"", "max-age=9.0", `max-age="9"`, "max-age", "max-age=9,", "MAX-AGE=9", "max-age=9, =", "max-age=9 no-store",
		"no-store=1, max-age=9", "max-age=(9)", "max-age=9999999999999999", "stale-if-error=a, max-age=9", "é=1",
	} {
		f(4*s, "", "CDN-Cache-Control: "+bad, plain)
	}

	v := judged(nil, 200, "CDN-Cache-Control: max-age=9, no-cache, must-revalidate, immutable, stale-while-revalidate=2, stale-if-error=3")
	want := verdict{Store: true, Fresh: 9 * s, Explicit: true, NoCache: true, Must: true, Immutable: true, SWR: 2 * s, SIE: 3 * s}
	if v != want {
		t.Errorf("all of it: %+v, want %+v", v, want)
	}
	if h := storable(headerOf("CDN-Cache-Control: max-age=9")); h.Get("CDN-Cache-Control") == "" {
		t.Error("CDN-Cache-Control does not go downstream")
	}
}
