package cache

import (
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/dunglas/httpsfv"
	"github.com/pquerna/cachecontrol/cacheobject"
)

// forever is the longest time there is: the 2^31 s that RFC 9111 §1.2.2 lets one
// end at. Sums of a few of them fit a time.Duration.
const forever = 1 << 31 * time.Second

// maxDirectives bounds a Cache-Control that is parsed, in bytes. The parser copies
// all that is left at each quote: a viewer could keep a core busy for a minute with
// the megabyte of header that it may send.
const maxDirectives = 1024

// errDirectives is for a Cache-Control over maxDirectives.
var errDirectives = errors.New("cache-control too long")

// A policy is what an answer says of its caching, other than by Expires and
// Vary. Durations are -1 if not said.
type policy struct {
	noStore, noCache, private, public bool
	must                              bool // must-revalidate or proxy-revalidate
	mustUnderstand, immutable         bool
	maxAge, sMaxAge, swr, sie         time.Duration
	unclear                           bool // it says nonsense of its lifetime, or several things
	targeted                          bool // it is for caches like this one: Expires is of no account
}

// policyOf reads CDN-Cache-Control (RFC 9213), or Cache-Control if there is no
// valid one.
func policyOf(h http.Header) policy {
	if p, ok := targetedPolicy(h["Cdn-Cache-Control"]); ok {
		return p
	}
	return plainPolicy(strings.Join(h["Cache-Control"], ", "))
}

// plainPolicy reads a Cache-Control. One that the parser refuses makes the answer
// stale at once, as RFC 9111 §4.2.1 would have it for a lifetime that cannot be
// read; it is not taken for a field that is not there, and what forbids something
// is still found in it.
func plainPolicy(field string) policy {
	p := policy{maxAge: -1, sMaxAge: -1, swr: -1, sie: -1}
	p.skim(field)
	d, err := parseDirectives(field, cacheobject.ParseResponseCacheControl)
	if err != nil {
		p.unclear = true
		return p
	}
	p.noStore = p.noStore || d.NoStore
	p.noCache = p.noCache || d.NoCachePresent
	p.private = p.private || d.PrivatePresent
	p.must = p.must || d.MustRevalidate || d.ProxyRevalidate
	p.public, p.immutable = d.Public, d.Immutable
	p.maxAge, p.sMaxAge = seconds(d.MaxAge), seconds(d.SMaxAge)
	p.swr, p.sie = seconds(d.StaleWhileRevalidate), seconds(d.StaleIfError)
	for _, extension := range d.Extensions {
		p.mustUnderstand = p.mustUnderstand || extension == "must-understand"
	}
	return p
}

// parseDirectives parses a Cache-Control of a bearable length.
func parseDirectives[D any](field string, parse func(string) (*D, error)) (*D, error) {
	if len(field) > maxDirectives {
		return nil, errDirectives
	}
	return parse(field)
}

// skim looks for the words that forbid something, whatever stands between them:
// the parser takes "no-cache=a,no-store" for a list of two fields, and of
// "public;no-store" the second half for an unknown directive. It also finds
// lifetimes that contradict each other (RFC 9111 §4.2.1).
func (p *policy) skim(field string) {
	lives := map[string]string{}
	last := ""
	for word := range strings.FieldsFuncSeq(unquoted(strings.ToLower(field)), between) {
		switch word {
		case "no-store":
			p.noStore = true
		case "no-cache":
			p.noCache = true
		case "private":
			p.private = true
		case "must-revalidate", "proxy-revalidate":
			p.must = true
		}
		if last == "max-age" || last == "s-maxage" {
			first, said := lives[last]
			p.unclear = p.unclear || said && first != word
			lives[last] = word
		}
		last = word
	}
}

// unquoted returns a field without its quoted arguments; what a quote begins and
// none ends is kept.
func unquoted(field string) string {
	var b strings.Builder
	for {
		before, after, found := strings.Cut(field, `="`)
		end := closing(after)
		if !found || end < 0 {
			b.WriteString(field)
			return b.String()
		}
		b.WriteString(before)
		b.WriteByte('=')
		field = after[end+1:]
	}
}

// closing is where a quoted string ends, whose first quote is already cut off;
// -1 if it does not.
func closing(s string) int {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// between reports whether a rune is not part of a token (RFC 9110 §5.6.2).
func between(r rune) bool {
	return r <= ' ' || r > '~' || strings.ContainsRune(`"(),/:;<=>?@[\]{}`, r)
}

func seconds(n cacheobject.DeltaSeconds) time.Duration {
	if n < 0 {
		return -1
	}
	return time.Duration(n) * time.Second
}

// targetedPolicy reads a targeted field, which is a Dictionary (RFC 9213 §2.1).
// It is not ok, and to be ignored, if it is empty, malformed, or has a directive of
// a type that it cannot be of.
func targetedPolicy(lines []string) (p policy, ok bool) {
	d, err := httpsfv.UnmarshalDictionary(lines)
	if err != nil || len(d.Names()) == 0 {
		return policy{}, false
	}
	p = policy{maxAge: -1, sMaxAge: -1, swr: -1, sie: -1, targeted: true}
	life := map[string]*time.Duration{
		"max-age": &p.maxAge, "s-maxage": &p.sMaxAge, "stale-while-revalidate": &p.swr, "stale-if-error": &p.sie,
	}
	flag := map[string]*bool{
		"no-store": &p.noStore, "no-cache": &p.noCache, "private": &p.private, "public": &p.public,
		"must-revalidate": &p.must, "proxy-revalidate": &p.must,
		"must-understand": &p.mustUnderstand, "immutable": &p.immutable,
	}
	for _, name := range d.Names() {
		m, _ := d.Get(name)
		if to := life[name]; to != nil && !targetedLife(m, to) {
			return policy{}, false
		}
		if to := flag[name]; to != nil && !targetedFlag(name, m, to) {
			return policy{}, false
		}
	}
	return p, true
}

// targetedLife reads an Integer of seconds. A negative one is no time at all.
func targetedLife(m httpsfv.Member, to *time.Duration) (ok bool) {
	item, _ := m.(httpsfv.Item)
	n, ok := item.Value.(int64)
	if ok {
		*to = time.Duration(min(max(n, 0), int64(forever/time.Second))) * time.Second
	}
	return ok
}

// targetedFlag reads a Boolean. Those which may name fields hold for all of them,
// whatever way they name them.
func targetedFlag(name string, m httpsfv.Member, to *bool) (ok bool) {
	item, _ := m.(httpsfv.Item)
	on, ok := item.Value.(bool)
	fields := !ok && (name == "no-cache" || name == "private")
	*to = *to || on || fields
	return ok || fields
}
