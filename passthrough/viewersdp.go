package passthrough

import (
	"net/netip"
	"strings"
)

// viewerSDP is an origin's description as the viewer gets it: absolute controls
// mapped, and learnt with the relative ones, addresses neutralised or left out. All
// else is kept byte by byte, line ends included: what is not understood is not ours to
// change.
func viewerSDP(body []byte, u *urls) []byte {
	lines := sdpLines(string(body))
	groups := multicastMedia(lines)
	out := make([]byte, 0, len(body)+64)
	for i, line := range lines {
		text := strings.TrimRight(line, "\r\n")
		end := line[len(text):]
		switch text[:min(2, len(text))] {
		case "o=":
			text = sdpOrigin(text)
		case "c=":
			text = sdpConnection(text)
		case "m=":
			if groups[i] {
				text = portless(text)
			}
		case "a=":
			if place(text) {
				continue
			}
			text = sdpControl(text, u)
		}
		out = append(append(out, text...), end...)
	}
	return out
}

// sdpLines returns the lines with their ends: CRLF, a bare LF, or a bare CR, for
// some players take that too.
func sdpLines(s string) (lines []string) {
	for s != "" {
		n := strings.IndexAny(s, "\r\n") + 1
		switch {
		case n == 0:
			n = len(s)
		case strings.HasPrefix(s[n-1:], "\r\n"):
			n++
		}
		lines, s = append(lines, s[:n]), s[n:]
	}
	return lines
}

// sdpOrigin keeps the session's id and version, which say whether a description
// has changed, and nothing of where it is from.
func sdpOrigin(line string) string {
	f := strings.Fields(line[2:])
	for len(f) < 3 {
		f = append(f, "")
	}
	user := f[0]
	if user == "" || strings.ContainsAny(user, ".:@") { // may be an address
		user = "-"
	}
	return "o=" + user + " " + digits(f[1]) + " " + digits(f[2]) + " IN IP4 127.0.0.1"
}

func digits(s string) string {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return "0"
	}
	return s
}

// sdpConnection says "where SETUP says" (RFC 2326 §C.1.7).
func sdpConnection(line string) string {
	if f := strings.Fields(line[2:]); len(f) > 1 && strings.EqualFold(f[1], "IP6") {
		return "c=IN IP6 ::"
	}
	return "c=IN IP4 0.0.0.0"
}

// multicastMedia finds the media lines of what is sent to a group, by a c= of
// their own or the session's. Their ports would have viewers join, not ask.
func multicastMedia(lines []string) map[int]bool {
	groups := map[int]bool{}
	session, at := false, -1
	for i, l := range lines {
		switch {
		case strings.HasPrefix(l, "m="):
			at = i
			groups[at] = session
		case strings.HasPrefix(l, "c=") && at < 0:
			session = multicastAddress(l)
		case strings.HasPrefix(l, "c="):
			groups[at] = multicastAddress(l)
		}
	}
	return groups
}

func multicastAddress(line string) bool {
	f := strings.Fields(line[2:])
	if len(f) < 3 {
		return false
	}
	address, _, _ := strings.Cut(f[2], "/")
	a, err := netip.ParseAddr(address)
	return err == nil && a.IsMulticast()
}

// portless is a media line as RTSP servers write it: the port is agreed in SETUP.
func portless(line string) string {
	media, rest, ok := strings.Cut(line, " ")
	_, rest, ok2 := strings.Cut(rest, " ")
	if !ok || !ok2 {
		return line
	}
	return media + " 0 " + rest
}

// place reports whether an attribute is of addresses between the origin and the
// edge (RFC 4570, RFC 3605): players would not take media from elsewhere.
func place(line string) bool {
	name, _, _ := strings.Cut(line[2:], ":")
	name = strings.TrimSpace(name)
	return strings.EqualFold(name, "source-filter") || strings.EqualFold(name, "rtcp")
}

// sdpControl maps a=control, and learns it.
func sdpControl(line string, u *urls) string {
	name, value, ok := strings.Cut(line[2:], ":")
	if !ok || !strings.EqualFold(strings.TrimSpace(name), "control") {
		return line
	}
	control := strings.Trim(value, " \t")
	u.learnControl(control)
	return strings.Replace(line, control, u.toViewer(control), 1)
}
