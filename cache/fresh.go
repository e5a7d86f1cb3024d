package cache

import (
	"cmp"
	"net/http"
	"strings"
	"time"
)

// A verdict is what may be done with an answer.
type verdict struct {
	Store  bool     // it may be stored
	Why    obstacle // why not
	Shared bool     // explicitly for everybody (public, s-maxage): also when asked for with a cookie

	Fresh     time.Duration // freshness lifetime; 0 is stored, but stale at once
	Explicit  bool          // the origin said so; else it is a heuristic, or nothing
	NoCache   bool          // to be validated before each use
	Must      bool          // must-revalidate and its like: never served stale
	Immutable bool          // RFC 8246: a viewer's reload does not ask the origin
	SWR, SIE  time.Duration // stale-while-revalidate, stale-if-error (RFC 5861); -1 if not said
}

// An obstacle is why an answer is not stored.
type obstacle string

// The obstacles there are.
const (
	noObstacle    obstacle = ""
	wrongStatus   obstacle = "status"
	severalParts  obstacle = "multipart"
	askedNoStore  obstacle = "request no-store"
	notUnderstood obstacle = "must-understand"
	saidNoStore   obstacle = "no-store"
	saidPrivate   obstacle = "private"
	authorized    obstacle = "authorization"
	varyAll       obstacle = "vary *"
	lacksLifetime obstacle = "no lifetime" // the only one that the rules for media take away
	keyOrLicence  obstacle = "key or licence"
	blockedError  obstacle = "error of a blocking request"
	lacksLength   obstacle = "no length"
	hasCookie     obstacle = "cookie"
	setsCookie    obstacle = "set-cookie"
	lacksMemory   obstacle = "no memory"
)

// judge applies RFC 9111 §3 and §4.2, RFC 9213 and RFC 5861 to the answer to a GET
// (of a 206, to the object it is a piece of). All but Store and Why is right
// whether or not it may be stored.
func judge(req *http.Request, status int, h http.Header, answered time.Time) verdict {
	unfit := unfit(status, h)
	if status == http.StatusPartialContent {
		status = http.StatusOK
	}
	p := policyOf(h)
	v := verdict{
		Shared:    p.public || p.sMaxAge >= 0,
		NoCache:   p.noCache,
		Must:      p.must || p.sMaxAge >= 0, // s-maxage implies proxy-revalidate: RFC 9111 §5.2.2.10
		Immutable: p.immutable,
		SWR:       p.swr,
		SIE:       p.sie,
	}
	v.Fresh, v.Explicit = lifetime(&p, status, h, answered)
	v.Why = cmp.Or(unfit, forbidden(&p, req, status, h), lifeless(&v, &p, status, h))
	v.Store = v.Why == noObstacle
	return v
}

// unfit says why an answer cannot stand for the object whatever its fields say.
func unfit(status int, h http.Header) obstacle {
	switch status {
	case http.StatusNotModified, http.StatusPreconditionFailed, http.StatusRequestedRangeNotSatisfiable,
		http.StatusExpectationFailed: // about the request's own conditions
		return wrongStatus
	case http.StatusIMUsed: // a difference to something else (RFC 3229)
		return wrongStatus
	case http.StatusProxyAuthRequired: // for one hop
		return wrongStatus
	case http.StatusPreconditionRequired, http.StatusTooManyRequests,
		http.StatusRequestHeaderFieldsTooLarge, http.StatusNetworkAuthenticationRequired: // RFC 6585: must not be stored
		return wrongStatus
	case http.StatusPartialContent:
		if strings.HasPrefix(strings.ToLower(h.Get("Content-Type")), "multipart/byteranges") {
			return severalParts // its type is not that of the object
		}
	}
	if status < 200 || status > 599 {
		return wrongStatus
	}
	return noObstacle
}

// forbidden says which rule of RFC 9111 §3 keeps an answer from being stored.
func forbidden(p *policy, req *http.Request, status int, h http.Header) obstacle {
	switch {
	case directivesOf(req.Header).noStore:
		return askedNoStore
	case p.mustUnderstand && !understood(status):
		return notUnderstood
	case p.noStore && !p.mustUnderstand: // RFC 9111 §5.2.2.3
		return saidNoStore
	case p.private:
		return saidPrivate
	case len(req.Header["Authorization"]) > 0 && !p.public && !p.must && p.sMaxAge < 0: // RFC 9111 §3.5
		return authorized
	}
	if _, all := varyOf(h); all {
		return varyAll
	}
	return noObstacle
}

// lifeless returns lacksLifetime for what would be of no use: never fresh, and
// not to be validated either.
func lifeless(v *verdict, p *policy, status int, h http.Header) obstacle {
	if v.Explicit || v.Fresh > 0 || guessable(p, status) && validation(h) != nil {
		return noObstacle
	}
	return lacksLifetime
}

// guessable reports whether an answer may be stored without a lifetime: by its
// status, or because it is said to be cacheable (RFC 9111 §4.2.2).
func guessable(p *policy, status int) bool {
	return heuristic(status) || p.public && understood(status)
}

// heuristic reports whether a status is heuristically cacheable (RFC 9110 §15.1).
func heuristic(status int) bool {
	switch status {
	case http.StatusOK, http.StatusNonAuthoritativeInfo, http.StatusNoContent,
		http.StatusMultipleChoices, http.StatusMovedPermanently, http.StatusPermanentRedirect,
		http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusGone, http.StatusRequestURITooLong,
		http.StatusNotImplemented:
		return true
	}
	return false
}

// understood reports whether the cache knows all that a status means for caching:
// those of RFC 9110 §15 (RFC 9111 §3).
func understood(status int) bool {
	switch {
	case status >= 200 && status <= 205,
		status >= 300 && status <= 303, status == 307, status == 308,
		status >= 400 && status <= 417, status == 421, status == 422, status == 426,
		status >= 500 && status <= 505:
		return true
	}
	return false
}
