package cache

import (
	"net/http"
	"net/textproto"
	"slices"
	"strings"
)

// Players on other sites' pages ask with an Origin. The edge answers for media
// by itself, the same for all: an answer for each site would be a variant for
// each site.
var (
	corsAny     = []string{"*"}
	corsExposed = []string{"Content-Length, Content-Range, Date, Age, Cache-Status"}
	corsMethods = []string{"GET, HEAD, OPTIONS"}
	corsMaxAge  = []string{"86400"}
)

func (v *visit) cors() {
	if v.c.media(guess(v.req.URL.Path)) {
		exposed(v.w.Header())
	}
}

func exposed(h http.Header) {
	h["Access-Control-Allow-Origin"] = corsAny
	h["Access-Control-Expose-Headers"] = corsExposed
}

// unsite takes out of an answer what it says to one site.
func unsite(h http.Header) {
	for name := range h {
		if strings.HasPrefix(name, "Access-Control-") {
			delete(h, name)
		}
	}
	names, all := varyOf(h)
	if i := slices.Index(names, "Origin"); i >= 0 && !all {
		names = slices.Delete(names, i, i+1)
		delete(h, "Vary")
		if len(names) > 0 {
			h["Vary"] = []string{strings.Join(names, ", ")}
		}
	}
}

// preflight answers what a browser asks before it asks for media with fields of
// its own. It is false if the request is none.
func (v *visit) preflight() bool {
	asked := v.req.Header
	if asked["Origin"] == nil || asked["Access-Control-Request-Method"] == nil || !v.c.media(guess(v.req.URL.Path)) {
		return false
	}
	h := v.w.Header()
	exposed(h)
	h["Access-Control-Allow-Methods"] = corsMethods
	h["Access-Control-Max-Age"] = corsMaxAge
	if fields := asked["Access-Control-Request-Headers"]; len(fields) == 1 && fieldNames(fields[0]) {
		h["Access-Control-Allow-Headers"] = fields
		h["Vary"] = []string{"Access-Control-Request-Headers"}
	}
	v.w.WriteHeader(http.StatusNoContent)
	return true
}

// fieldNames reports whether a list has nothing but names of fields.
func fieldNames(list string) bool {
	for name := range strings.SplitSeq(list, ",") {
		name = textproto.TrimString(name)
		if name == "" || strings.ContainsFunc(name, func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}) {
			return false
		}
	}
	return true
}
