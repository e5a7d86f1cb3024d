package cache

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// hasMember reports whether a list that has no quotes in it has a member.
func hasMember(list, name string) bool {
	for member := range strings.SplitSeq(list, ",") {
		if strings.EqualFold(strings.Trim(member, " \t"), name) {
			return true
		}
	}
	return false
}

// FuzzJudge: whatever an origin says, nothing panics, no lifetime is negative, and
// what must not be stored is not.
func FuzzJudge(f *testing.F) {
	for _, cc := range []string{
		"max-age=9, no-store", "private", `no-cache="a", private="b"`, "no-cache=a,no-store", "public;no-store", "=", `"`,
		`a="\`, "s-maxage=99999999999, stale-while-revalidate=5", "must-understand, no-store",
	} {
		f.Add(cc, "", "", "", "", uint16(200))
	}
	f.Add("", "max-age=9, no-store", dateAt(time.Hour), "7, 8", dateAt(0), uint16(206))
	f.Add("max-age=5", "max-age=(1 2);a, b=:AAAA:", "0", "-1", "x", uint16(599))
	f.Fuzz(func(t *testing.T, cc, cdn, expires, age, date string, status uint16) {
		h := http.Header{"Cache-Control": {cc}, "Age": {age}, "Date": {date}, "Last-Modified": {date}, "Vary": {expires}}
		if expires != "" {
			h["Expires"] = []string{expires}
		}
		if cdn != "" {
			h["Cdn-Cache-Control"] = []string{cdn}
		}
		req := &http.Request{Header: http.Header{"Cache-Control": {cdn}}}
		v := judge(req, int(status), h, judgedAt)
		checkVerdict(t, v, directivesOf(req.Header))
		if a := initialAge(h, judgedAt, judgedAt); a < 0 || a > forever {
			t.Fatalf("initialAge %v", a)
		}

		delete(h, "Cdn-Cache-Control")
		v = judge(&http.Request{}, int(status), h, judgedAt)
		checkVerdict(t, v, directivesOf(nil))
		if strings.Contains(cc, `"`) {
			return
		}
		if v.Store && hasMember(cc, "private") {
			t.Fatalf("private is stored: %q", cc)
		}
		if v.Store && hasMember(cc, "no-store") && !hasMember(cc, "must-understand") {
			t.Fatalf("no-store is stored: %q", cc)
		}
		if v.usability(0, directivesOf(nil)) != spent && hasMember(cc, "no-cache") {
			t.Fatalf("no-cache is used: %q", cc)
		}
	})
}

func checkVerdict(t *testing.T, v verdict, d directives) {
	t.Helper()
	if v.Fresh < 0 || v.Fresh > forever || v.SWR < -1 || v.SWR > forever || v.SIE < -1 || v.SIE > forever {
		t.Fatalf("durations out of bounds: %+v", v)
	}
	if v.Store == (v.Why != "") {
		t.Fatalf("store %v, why %q", v.Store, v.Why)
	}
	for _, age := range []time.Duration{0, v.Fresh, forever} {
		stale := age >= v.Fresh
		if v.usability(age, d) != spent && (v.NoCache || stale && v.Must) {
			t.Fatalf("used at %v: %+v", age, v)
		}
		if v.onError(age, true) && (v.NoCache || stale && v.Must) {
			t.Fatalf("used on an error at %v: %+v", age, v)
		}
	}
}

// FuzzDate: what is a date comes out as it went in; what is an Age is its digits.
func FuzzDate(f *testing.F) {
	for _, s := range []string{
		"Sun, 22 Nov 2026 12:00:09 GMT", "Sunday, 22-Nov-26 12:00:09 GMT", "Sun Nov  1 12:00:09 2026", "0", "7, 9",
		"Sun, 22 Nov 2026 12:00:09.5 GMT", "99999999999999999999", " 12\t,", "sun, 22 nov 2026 12:00:09 gmt",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if date, ok := httpDate(s); ok {
			found := false
			for _, layout := range []string{http.TimeFormat, "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} {
				found = found || strings.EqualFold(date.Format(layout), s)
			}
			if !found || date.Nanosecond() != 0 {
				t.Fatalf("httpDate(%q) = %v", s, date)
			}
		}
		age := ageIn(http.Header{"Age": {s}})
		if age < 0 || age > forever || age%time.Second != 0 {
			t.Fatalf("ageIn(%q) = %v", s, age)
		}
		first, _, _ := strings.Cut(s, ",")
		if age > 0 && strings.Trim(first, "0123456789 \t") != "" {
			t.Fatalf("ageIn(%q) = %v", s, age)
		}
		h := http.Header{"Expires": {s}}
		if life := expires(h, judgedAt); life < 0 || life > forever {
			t.Fatalf("expires(%q) = %v", s, life)
		}
	})
}

// FuzzConditions: nothing panics or never ends, a tag always matches itself, and
// what holds for a range is never weak.
func FuzzConditions(f *testing.F) {
	f.Add(`"a", W/"b"`, `"a"`, dateAt(0))
	f.Add(`W/`, `W/"`, "x")
	f.Add(`*`, ``, dateAt(-time.Hour))
	f.Add(`"a""b",,c`, `c`, "")
	f.Fuzz(func(t *testing.T, list, etag, date string) {
		stored := http.Header{"Etag": {etag}, "Last-Modified": {date}, "Date": {date}}
		for _, name := range []string{"If-Match", "If-None-Match"} {
			conditions(http.Header{name: {list}}, stored)
			conditions(http.Header{name: {list}, "If-Modified-Since": {date}, "If-Unmodified-Since": {date}}, stored)
		}
		for tag, rest := nextTag(list); tag != ""; tag, rest = nextTag(rest) {
			if !weakMatch(tag, tag) {
				t.Fatalf("%q does not match itself", tag)
			}
		}
		if rangeHolds(http.Header{"If-Range": {list}}, stored) && strings.HasPrefix(etag, "W/") {
			if _, ok := httpDate(strings.Trim(list, " \t")); !ok {
				t.Fatalf("If-Range %q holds for %q", list, etag)
			}
		}
		if v := strongValidator(stored); v != "" && v != etag && v != date {
			t.Fatalf("strongValidator %q of %q, %q", v, etag, date)
		}
		codings(http.Header{"Accept-Encoding": {list}})
		names, _ := varyOf(http.Header{"Vary": {list}})
		variantOf(names, http.Header{"Accept-Encoding": {list}, "Accept-Language": {etag}})
		invalidated(&http.Request{Method: "POST", URL: &url.URL{Path: "/a"}, Host: etag}, 200, http.Header{"Location": {list}})
	})
}
