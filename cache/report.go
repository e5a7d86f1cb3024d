package cache

import (
	"strconv"
	"time"
)

// A report is what Cache-Status says of one answer (RFC 9211 §2).
type report struct {
	hit       bool
	stale     bool   // used although it is not fresh
	fwd       string // why the origin was asked
	fwdStatus int
	stored    bool
	collapsed bool
}

// found corrects the report by what a reader has met, and what is missing behind: an
// object that was found was not necessarily there.
func (r *report) found(by *reader, lacks bool) {
	switch {
	case !r.hit:
	case by.fetched || lacks:
		r.hit, r.fwd, r.stored = false, "partial", true
	case by.waited:
		r.hit, r.fwd, r.collapsed = false, "partial", true
	}
}

// append adds this cache's member to those of the caches before it. ttl is the
// rest of the freshness lifetime.
func (r *report) append(before []string, id string, ttl time.Duration) []string {
	b := r.text(make([]byte, 0, 96), id, ttl)
	if len(before) == 0 {
		return []string{string(b)}
	}
	return append(before[:len(before):len(before)], string(b))
}

// text appends this cache's member.
func (r *report) text(b []byte, id string, ttl time.Duration) []byte {
	b = append(b, id...)
	switch {
	case r.hit:
		b = append(b, "; hit; ttl="...)
		b = strconv.AppendInt(b, int64(ttl/time.Second), 10)
	case r.fwd != "":
		b = append(append(b, "; fwd="...), r.fwd...)
		if r.fwdStatus > 0 {
			b = strconv.AppendInt(append(b, "; fwd-status="...), int64(r.fwdStatus), 10)
		}
		if r.stored {
			b = append(b, "; stored"...)
		}
		if r.collapsed {
			b = append(b, "; collapsed"...)
		}
	}
	if r.stale {
		b = append(b, "; detail=stale"...)
	}
	return b
}

// forwardReason is RFC 9211's word for why a flight is needed.
func forwardReason(o *object, m *meta, all []*object) string {
	switch {
	case o != nil && m.Size < 0:
		return "partial"
	case o != nil:
		return "stale"
	case len(all) > 0:
		return "vary-miss"
	}
	return "uri-miss"
}
