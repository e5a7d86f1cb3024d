package viewer

import (
	"net/url"
	"strings"

	"weir/proxy/wire"
)

// bases returns the URL of the session as a whole and the one that controls of
// tracks are relative to, from the answer to DESCRIBE of asked (RFC 2326
// §C.1.1). As with ffmpeg and live555, an absolute control of the session
// counts for its tracks too.
func bases(asked string, res *wire.Response) (session, tracks string) {
	base := asked
	for _, name := range []string{"Content-Base", "Content-Location"} {
		if b := res.Header.Get(name); b != "" {
			base = b
			break
		}
	}
	if !absolute(base) {
		base = against(asked, base)
	}
	control := sessionControl(res.Body)
	session = resolve(base, control)
	if absolute(control) {
		return session, session
	}
	return session, base
}

// resolve returns the URL of a control. Relative ones go behind the base with
// one slash between, behind its query even: that is what players do, and what
// servers expect.
func resolve(base, control string) string {
	switch {
	case control == "" || control == "*":
		return base
	case absolute(control):
		return control
	}
	return strings.TrimRight(base, "/") + "/" + strings.TrimLeft(control, "/")
}

func absolute(s string) bool {
	scheme, _, ok := strings.Cut(s, "://")
	return ok && (strings.EqualFold(scheme, "rtsp") || strings.EqualFold(scheme, "rtsps"))
}

// against resolves a relative Content-Base as URLs are resolved; asked if it
// cannot be read.
func against(asked, ref string) string {
	a, err := url.Parse(asked)
	if err != nil {
		return asked
	}
	r, err := url.Parse(ref)
	if err != nil {
		return asked
	}
	return a.ResolveReference(r).String()
}

// sessionControl returns the a=control before the first medium.
func sessionControl(body []byte) string {
	for line := range strings.Lines(string(body)) {
		line = strings.TrimSpace(line)
		if strings.HasPrefix(line, "m=") {
			break
		}
		if c, ok := strings.CutPrefix(line, "a=control:"); ok {
			return strings.TrimSpace(c)
		}
	}
	return ""
}

// sendable reports whether a URL fits into a first line.
func sendable(u string) bool {
	return !strings.ContainsFunc(u, func(r rune) bool { return r <= ' ' || r == 0x7f })
}
