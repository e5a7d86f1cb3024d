package cache

import (
	"net/http"
	"strings"
	"time"

	"github.com/pquerna/cachecontrol/cacheobject"
)

// A usability is how an object may be used that was found for a request.
type usability uint8

const (
	spent     usability = iota // only after the origin has validated it
	lingering                  // at once, while it is validated in the background (RFC 5861 §3)
	usable                     // at once
)

// usability says how an object of this age may be used (RFC 9111 §4.2, §5.2.1.1-4).
func (v *verdict) usability(age time.Duration, d directives) usability {
	fresh := age < v.Fresh
	if fresh && v.Immutable && (d.noCache || d.maxAge == 0) { // a reload: RFC 8246 §2
		d.noCache, d.maxAge = false, -1
	}
	switch {
	case v.NoCache, d.noCache:
		return spent
	case d.maxAge >= 0 && age > d.maxAge, d.minFresh >= 0 && v.Fresh-age < d.minFresh:
		return spent
	case fresh:
		return usable
	case v.Must:
		return spent
	case age-v.Fresh < v.SWR && d.maxAge < 0: // who names a max-age wants nothing stale: RFC 9111 §5.2.1.1
		return lingering
	case d.maxStale >= 0 && age-v.Fresh <= d.maxStale:
		return usable
	}
	return spent
}

// onError says whether an object of this age may be used although it is spent,
// because the origin cannot be reached (gone) or answers 500, 502, 503 or 504
// (RFC 9111 §4.2.4, RFC 5861 §4).
//
// What a viewer asks for is a preference (RFC 9111 §5.2.1) and does not stand in
// the way: an old picture is better than none.
func (v *verdict) onError(age time.Duration, gone bool) bool {
	switch {
	case v.NoCache:
		return false
	case age < v.Fresh: // spent for this viewer only
		return true
	case v.Must:
		return false
	case v.SIE >= 0:
		return age-v.Fresh < v.SIE
	}
	return gone
}

// directives are a request's (RFC 9111 §5.2.1). Durations are -1 if not said.
type directives struct {
	noStore, noCache, onlyIfCached bool
	maxAge, minFresh, maxStale     time.Duration
}

// directivesOf reads a request's Cache-Control, or its Pragma if there is none.
func directivesOf(h http.Header) directives {
	d := directives{maxAge: -1, minFresh: -1, maxStale: -1}
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		if pragma := h["Pragma"]; len(pragma) > 0 {
			d.skim(strings.Join(pragma, ", "))
			d.noStore, d.onlyIfCached = false, false // Pragma knows no-cache only: RFC 9111 §5.4
		}
		return d
	}
	field := strings.Join(lines, ", ")
	d.skim(field)
	said, err := parseDirectives(field, cacheobject.ParseRequestCacheControl)
	if err != nil {
		return d // what cannot be read limits nothing
	}
	d.maxAge, d.minFresh, d.maxStale = seconds(said.MaxAge), seconds(said.MinFresh), seconds(said.MaxStale)
	if said.MaxStaleSet {
		d.maxStale = forever // however stale
	}
	return d
}

// skim finds what has no argument; see policy.skim.
func (d *directives) skim(field string) {
	for word := range strings.FieldsFuncSeq(unquoted(strings.ToLower(field)), between) {
		switch word {
		case "no-store":
			d.noStore = true
		case "no-cache":
			d.noCache = true
		case "only-if-cached":
			d.onlyIfCached = true
		}
	}
}
