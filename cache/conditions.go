package cache

import (
	"net/http"
	"strings"
	"time"
)

// An outcome is what a request's conditions come to.
type outcome uint8

const (
	proceed            outcome = iota
	notModified                // 304
	preconditionFailed         // 412
)

// conditions evaluates If-Match, If-None-Match, If-Modified-Since and
// If-Unmodified-Since of a GET or HEAD against a stored answer, in the order of
// RFC 9110 §13.2.2.
//
// They are about what would be a 2xx: of another status, proceed (RFC 9110
// §13.2.1). A cache need not heed If-Match and If-Unmodified-Since (RFC 9111
// §4.3.2): what is not fresh may fail them where the origin would not.
func conditions(req, stored http.Header) outcome {
	if lines := req["If-Match"]; len(lines) > 0 {
		if !isStar(lines) && !hasTag(lines, sole(stored, "Etag"), strongMatch) {
			return preconditionFailed
		}
	} else if changedAfter(req, stored) {
		return preconditionFailed
	}
	if lines := req["If-None-Match"]; len(lines) > 0 {
		if isStar(lines) || hasTag(lines, sole(stored, "Etag"), weakMatch) {
			return notModified
		}
		return proceed
	}
	if unchangedSince(req, stored) {
		return notModified
	}
	return proceed
}

// changedAfter reports whether If-Unmodified-Since fails (RFC 9110 §13.1.4).
func changedAfter(req, stored http.Header) bool {
	since, ok := dateIn(req, "If-Unmodified-Since")
	if !ok {
		return false
	}
	changed, ok := dateIn(stored, "Last-Modified")
	return ok && changed.After(since)
}

// unchangedSince reports whether If-Modified-Since calls for a 304. What has no
// Last-Modified was made when it was sent (RFC 9111 §4.3.2).
func unchangedSince(req, stored http.Header) bool {
	since, ok := dateIn(req, "If-Modified-Since")
	if !ok {
		return false
	}
	name := "Last-Modified"
	if len(stored[name]) == 0 {
		name = "Date"
	}
	changed, ok := dateIn(stored, name)
	return ok && !changed.After(since)
}

// rangeHolds evaluates If-Range (RFC 9110 §13.1.5): whether the Range is to be
// heeded. It is if there is none.
func rangeHolds(req, stored http.Header) bool {
	if len(req["If-Range"]) == 0 {
		return true
	}
	said := strings.Trim(sole(req, "If-Range"), " \t")
	if strings.HasPrefix(said, `"`) || strings.HasPrefix(said, "W/") {
		return strongMatch(said, sole(stored, "Etag"))
	}
	date, ok := httpDate(said)
	changed, strong := strongDate(stored)
	return ok && strong && date.Equal(changed)
}

// strongValidator returns what an If-Range can be made of: a strong ETag, or a
// Last-Modified that is strong by RFC 9110 §8.8.2.2; "" for neither. Beside an
// ETag that is weak, a date is no use (RFC 9110 §13.1.5).
func strongValidator(stored http.Header) string {
	if len(stored["Etag"]) > 0 {
		if etag := sole(stored, "Etag"); strongMatch(etag, etag) {
			return etag
		}
		return ""
	}
	if _, strong := strongDate(stored); strong {
		return sole(stored, "Last-Modified")
	}
	return ""
}

// strongDate reads a Last-Modified. It is strong if it was a second ago when it
// was sent: the object cannot have changed twice in its second since.
func strongDate(stored http.Header) (changed time.Time, strong bool) {
	changed, ok := dateIn(stored, "Last-Modified")
	sent, dated := dateIn(stored, "Date")
	return changed, ok && dated && sent.Sub(changed) >= time.Second
}

// validation returns the conditions that validate a stored answer (RFC 9111
// §4.3.1); nil if it has no validator.
func validation(stored http.Header) http.Header {
	var h http.Header
	if etag := sole(stored, "Etag"); etag != "" {
		h = http.Header{"If-None-Match": {etag}}
	}
	if _, ok := dateIn(stored, "Last-Modified"); ok {
		if h == nil {
			h = http.Header{}
		}
		h["If-Modified-Since"] = []string{sole(stored, "Last-Modified")}
	}
	return h
}
