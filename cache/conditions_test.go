package cache

import (
	"net/http"
	"reflect"
	"testing"
	"time"
)

// conditioned is a stored answer that was made an hour before it was sent.
func conditioned(etag string) http.Header {
	h := headerOf("Last-Modified: "+dateAt(-time.Hour), "Date: "+dateAt(0))
	if etag != "" {
		h.Set("Etag", etag)
	}
	return h
}

func TestRFC9110Section13_1_1(t *testing.T) { // If-Match
	f := func(etag string, want outcome, values ...string) {
		t.Helper()
		if got := conditions(http.Header{"If-Match": values}, conditioned(etag)); got != want {
			t.Errorf("If-Match %q of %s: %v, want %v", values, etag, got, want)
		}
	}
	f(`"a"`, proceed, `"a"`)
	f(`"a"`, proceed, "*")
	f("", proceed, "*")
	f(`"a"`, proceed, `"b", "a"`)
	f(`"a"`, proceed, `"b"`, `"a"`)
	f(`"a"`, preconditionFailed, `"b"`)
	f(`"a"`, preconditionFailed, `W/"a"`)
	f(`W/"a"`, preconditionFailed, `W/"a"`)
	f(`W/"a"`, preconditionFailed, `"a"`)
	f("", preconditionFailed, `"a"`)
	f("", preconditionFailed, "")
	f("a", preconditionFailed, "a")
}

func TestRFC9110Section13_1_2(t *testing.T) { // If-None-Match
	f := func(etag string, want outcome, values ...string) {
		t.Helper()
		if got := conditions(http.Header{"If-None-Match": values}, conditioned(etag)); got != want {
			t.Errorf("If-None-Match %q of %s: %v, want %v", values, etag, got, want)
		}
	}
	for _, etag := range []string{`"a"`, `W/"a"`} {
		f(etag, notModified, `"a"`)
		f(etag, notModified, `W/"a"`)
		f(etag, notModified, `"b",W/"a"`)
		f(etag, notModified, `"b", "c"`, ` , "a" `)
		f(etag, notModified, `"b""a"`)
		f(etag, notModified, ` * `)
		f(etag, proceed, `"b"`)
		f(etag, proceed, `"A"`)
		f(etag, proceed, `w/"a"`)
		f(etag, proceed, `W"a"`)
		f(etag, proceed, `W\"a"`)
		f(etag, proceed, `a`)
		f(etag, proceed, `"a`)
		f(etag, proceed, `"b, a"`)
		f(etag, proceed, "")
		f(etag, proceed, `"b", *`)
	}
	f(`"a,b"`, notModified, `"x", "a,b"`)
	f("\"\xe9\"", notModified, "\"\xe9\"")
	f(`""`, notModified, `""`)
	f("", notModified, "*")
	f("", proceed, `"a"`)
	f("", proceed, "")
	f("a", notModified, `"b", a`) // not quoted by the origin, and so sent back
}

func TestRFC9110Section13_1_3(t *testing.T) { // If-Modified-Since
	f := func(stored http.Header, want outcome, values ...string) {
		t.Helper()
		if got := conditions(http.Header{"If-Modified-Since": values}, stored); got != want {
			t.Errorf("If-Modified-Since %q of %v: %v, want %v", values, stored, got, want)
		}
	}
	h := conditioned(`"a"`)
	f(h, notModified, dateAt(-time.Hour))
	f(h, notModified, dateAt(0))
	f(h, notModified, "Sunday, 22-Nov-26 11:00:00 GMT")
	f(h, notModified, "Sun Nov 22 11:00:00 2026")
	f(h, proceed, dateAt(-time.Hour-time.Second))
	f(h, proceed, "tomorrow")
	f(h, proceed, "Sun, 22 Nov 2027 11:00:00 GMT") // a Monday
	f(h, proceed, dateAt(0), dateAt(0))
	sent := headerOf("Date: " + dateAt(0)) // RFC 9111 §4.3.2
	f(sent, notModified, dateAt(0))
	f(sent, proceed, dateAt(-time.Second))
	f(headerOf("Last-Modified: x", "Date: "+dateAt(0)), proceed, dateAt(0))
	f(headerOf(), proceed, dateAt(0))
}

func TestRFC9110Section13_1_4(t *testing.T) { // If-Unmodified-Since
	f := func(want outcome, values ...string) {
		t.Helper()
		if got := conditions(http.Header{"If-Unmodified-Since": values}, conditioned("")); got != want {
			t.Errorf("If-Unmodified-Since %q: %v, want %v", values, got, want)
		}
	}
	f(proceed, dateAt(-time.Hour))
	f(preconditionFailed, dateAt(-time.Hour-time.Second))
	f(proceed, "x")
	f(proceed, dateAt(-9*time.Hour), dateAt(0))
	if got := conditions(headerOf("If-Unmodified-Since: "+dateAt(-9*time.Hour)), headerOf()); got != proceed {
		t.Errorf("without Last-Modified: %v, want to proceed", got)
	}
}

func TestRFC9110Section13_2_2(t *testing.T) {
	f := func(want outcome, lines ...string) {
		t.Helper()
		if got := conditions(headerOf(lines...), conditioned(`"a"`)); got != want {
			t.Errorf("%q: %v, want %v", lines, got, want)
		}
	}
	since, before := "If-Modified-Since: "+dateAt(0), "If-Unmodified-Since: "+dateAt(-9*time.Hour)
	f(proceed)
	f(proceed, `If-Match: "a"`, before)
	f(notModified, `If-Match: "a"`, `If-None-Match: "a"`)
	f(preconditionFailed, `If-Match: "b"`, `If-None-Match: "a"`)
	f(preconditionFailed, before, `If-None-Match: "a"`)
	f(proceed, `If-None-Match: "b"`, since)
	f(notModified, `If-None-Match: "a"`, "If-Modified-Since: "+dateAt(-9*time.Hour))
	f(notModified, `If-Match: "a"`, since)
}

func TestRFC9110Section13_1_5(t *testing.T) { // If-Range
	f := func(stored http.Header, want bool, values ...string) {
		t.Helper()
		if got := rangeHolds(http.Header{"If-Range": values}, stored); got != want {
			t.Errorf("If-Range %q of %v: %v, want %v", values, stored, got, want)
		}
	}
	f(conditioned(`"a"`), true)
	f(conditioned(`"a"`), true, `"a"`)
	f(conditioned(`"a"`), true, ` "a" `)
	f(conditioned(`"a"`), false, `"b"`)
	f(conditioned(`"a"`), false, `"b", "a"`)
	f(conditioned(`"a"`), false, `W/"a"`)
	f(conditioned(`W/"a"`), false, `W/"a"`)
	f(conditioned(`W/"a"`), false, `"a"`)
	f(conditioned(""), false, `"a"`)
	f(conditioned(""), false, "")
	f(conditioned(`"a"`), false, "a")
	f(conditioned(`"a"`), false, `"a"`, `"a"`)
	f(conditioned(""), true, dateAt(-time.Hour))
	f(conditioned(""), false, dateAt(0)) // exactly the same, not "since"
	f(conditioned(""), false, dateAt(-2*time.Hour))
	young := headerOf("Last-Modified: "+dateAt(0), "Date: "+dateAt(0)) // RFC 9110 §8.8.2.2
	f(young, false, dateAt(0))
	f(headerOf("Last-Modified: "+dateAt(0), "Date: "+dateAt(time.Second)), true, dateAt(0))
	f(headerOf("Last-Modified: "+dateAt(0)), false, dateAt(0))
}

func TestRFC9110Section8_8(t *testing.T) {
	f := func(want string, stored http.Header) {
		t.Helper()
		if got := strongValidator(stored); got != want {
			t.Errorf("strongValidator(%v) = %q, want %q", stored, got, want)
		}
	}
	f(`"a"`, conditioned(`"a"`))
	f(`""`, conditioned(`""`))
	f(dateAt(-time.Hour), conditioned(""))
	f("", conditioned(`W/"a"`))
	f("", conditioned("a"))
	f("", conditioned(`"a"b"`))
	f("", conditioned(`"`))
	f("", headerOf(`Etag: "a"`, `Etag: "b"`))
	f("", headerOf("Last-Modified: "+dateAt(0), "Date: "+dateAt(0)))
	f("", headerOf("Last-Modified: "+dateAt(0)))
	f("", headerOf())
}

func TestRFC9111Section4_3_1(t *testing.T) {
	f := func(want http.Header, lines ...string) {
		t.Helper()
		if got := validation(headerOf(lines...)); !reflect.DeepEqual(got, want) {
			t.Errorf("validation(%q) = %v, want %v", lines, got, want)
		}
	}
	date := dateAt(-time.Hour)
	f(nil)
	f(nil, "Last-Modified: x", "Date: "+date)
	f(headerOf(`If-None-Match: W/"a"`), `Etag: W/"a"`)
	f(headerOf("If-Modified-Since: "+date), "Last-Modified: "+date)
	f(headerOf(`If-None-Match: "a"`, "If-Modified-Since: "+date), `Etag: "a"`, "Last-Modified: "+date)
}
