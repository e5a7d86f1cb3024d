package front

import (
	"bytes"
	"net/netip"
	"slices"
	"strings"

	"weir/proxy"
)

// A place is where in a request something ends.
type place int8

const (
	inLine  place = iota // of the header block; the beginning, too
	newLine              // behind a line feed
	newCR                // behind that and a carriage return
	whole                // behind the empty line
	ahead                // behind the first byte of the next request
	beyond               // somewhere else
)

// after is where b ends if it comes next: lines end as for net/http, which wants
// no carriage return.
func (p place) after(b []byte) place {
	for _, x := range b {
		switch {
		case p >= whole:
			return beyond
		case x == '\n' && p != inLine:
			p = whole
		case x == '\n':
			p = newLine
		case x == '\r' && p == newLine:
			p = newCR
		default:
			p = inLine
		}
	}
	return p
}

// A plainRequest is what a plain GET or HEAD says (see proxy.Plain). Its strings
// share one copy of the header block.
type plainRequest struct {
	head                    bool
	target                  string // as it came
	viewerPath, path, query string
	host                    string
	hosts                   int
	kept                    [len(keptFields)]keptField
}

// keptFields say something about the viewer. More than one of a kind, or two that
// say who he is, only net/http can make sense of.
var keptFields = [...]string{"Authorization", "Cookie", "User-Agent", "X-Forwarded-For", "Forwarded"}

type keptField struct {
	value string
	n     int
}

// notPlain are the fields that want more than a plain answer, or that only
// net/http can make sense of; besides all that begin as one of notPlainPrefixes.
var (
	notPlain = []string{"Range", "Cache-Control", "Pragma", "Upgrade", "Expect", "Content-Length", "Transfer-Encoding",
		"TE", "Trailer", "Via", "Max-Forwards", "Http2-Settings"}
	notPlainPrefixes = []string{"If-", "Proxy-", "Weir-"}
)

// readPlain reads the request that b begins with, and returns its length; 0 if
// it is not plain, not all there, or wrong in any way. It is stricter than
// net/http, which gets whatever is refused here, so that nothing is ever read in
// two ways (RFC 9112 §2.2, §5, §11).
func readPlain(b []byte) (r plainRequest, n int) {
	if len(b) < 4 || b[0] != 'G' && b[0] != 'H' {
		return r, 0
	}
	end := bytes.Index(b, []byte("\r\n\r\n"))
	if end < 0 {
		return r, 0
	}
	line, fields, _ := strings.Cut(string(b[:end+2]), "\r\n")
	if !r.requestLine(line) {
		return r, 0
	}
	for fields != "" {
		line, fields, _ = strings.Cut(fields, "\r\n")
		if !r.field(line) {
			return r, 0
		}
	}
	if r.hosts != 1 || slices.ContainsFunc(r.kept[:], keptField.twice) || r.get("X-Forwarded-For") != "" && r.get("Forwarded") != "" {
		return r, 0
	}
	return r, end + 4
}

func (f keptField) twice() bool { return f.n > 1 }

// requestLine takes the origin-form only (RFC 9112 §3.2.1).
func (r *plainRequest) requestLine(line string) bool {
	target, get := strings.CutPrefix(line, "GET ")
	if !get {
		if target, r.head = strings.CutPrefix(line, "HEAD "); !r.head {
			return false
		}
	}
	target, ok := strings.CutSuffix(target, " HTTP/1.1")
	if !ok || !strings.HasPrefix(target, "/") || !all(target, inTarget) {
		return false
	}
	r.target = target
	var escaped string
	var err error
	escaped, r.query, _ = strings.Cut(target, "?")
	r.viewerPath, r.path, err = cleanPath(escaped)
	return err == nil
}

// field takes a line that is neither folded nor of a field that is notPlain.
func (r *plainRequest) field(line string) bool {
	i := strings.IndexByte(line, ':')
	if i <= 0 || !all(line[:i], inToken) || !all(line[i:], inValue) {
		return false
	}
	name, value := line[:i], strings.Trim(line[i+1:], " ")
	switch {
	case equal(name, "Host"):
		r.host = value
		r.hosts++
		return value != "" && all(value, inHost)
	case equal(name, "Connection"):
		return equal(value, "keep-alive")
	}
	for i, kept := range keptFields {
		if equal(name, kept) {
			r.kept[i] = keptField{value, r.kept[i].n + 1}
			return true
		}
	}
	return !isNotPlain(name)
}

func isNotPlain(name string) bool {
	for _, p := range notPlainPrefixes {
		if len(name) > len(p) && equal(name[:len(p)], p) {
			return true
		}
	}
	for _, n := range notPlain {
		if equal(name, n) {
			return true
		}
	}
	return false
}

// equal ignores case. Nearly all names differ in length.
func equal(a, b string) bool { return len(a) == len(b) && strings.EqualFold(a, b) }

// get returns a field that says something about the viewer, as
// http.Header.Get does.
func (r *plainRequest) get(name string) string {
	i := slices.Index(keptFields[:], name)
	if i < 0 {
		panic("BUG: " + name + " is not kept")
	}
	return r.kept[i].value
}

// A question is all that is allocated for a quick answer, besides the copy of
// the header block.
type question struct {
	plain  proxy.Plain
	viewer proxy.Viewer
}

func (r *plainRequest) question(from netip.AddrPort) *question {
	method := "GET"
	if r.head {
		method = "HEAD"
	}
	q := &question{viewer: httpViewer(from, method, r.target, r.viewerPath, r.query, r.get)}
	q.plain = proxy.Plain{Head: r.head, Host: r.host, Path: r.path, Query: r.query, Viewer: &q.viewer}
	return q
}

// A class is a set of bytes.
type class uint8

const (
	inToken   class = 1 << iota // RFC 9110 §5.6.2
	inValue                     // of a field; without the tab that RFC 9110 §5.5 allows
	inTarget                    // what can be seen in ASCII, but for "#"
	inHost                      // what names and addresses are made of, and a port
	inSegment                   // of a path that needs no cleaning, but for the dot
)

var classes = func() (t [256]class) {
	add := func(c class, bytes string) {
		for i := range len(bytes) {
			t[bytes[i]] |= c
		}
	}
	const alnum = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
	add(inToken, alnum+"!#$%&'*+-.^_`|~")
	add(inHost, alnum+"-._:[]")
	add(inSegment, alnum+"-_~!$&'()*+,;=:@")
	for x := ' '; x < 256; x++ {
		if x != 0x7f {
			t[x] |= inValue
		}
		if x > ' ' && x < 0x7f && x != '#' {
			t[x] |= inTarget
		}
	}
	return t
}()

func all(s string, c class) bool {
	for i := range len(s) {
		if classes[s[i]]&c == 0 {
			return false
		}
	}
	return true
}
