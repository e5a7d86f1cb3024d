package passthrough

import (
	"slices"
	"strings"

	"weir/proxy/wire"
)

// A requestChange is what changes in a request's header on its way to the
// origin. A field that is set is written, also where the viewer sent none; one
// that is "" stays as it came.
type requestChange struct {
	cseq, session, transport string
	authorization            string // the edge's answer to a challenge
	credentials              bool   // the edge has its own for this origin: the viewer's stay here
	via                      string // this edge's id
	urls                     *urls
}

// requestHeader is a viewer's header as the origin gets it. Order, case and
// unknown fields are kept. Content-Length is left to wire, which knows the body.
func requestHeader(h wire.Header, c requestChange) wire.Header {
	h = without(h, "Content-Length", "Proxy-Require", "Weir-Peer")
	if c.credentials || c.authorization != "" {
		h = without(h, "Authorization", "Proxy-Authorization")
	}
	set(&h, "CSeq", c.cseq)
	set(&h, "Session", c.session)
	set(&h, "Transport", c.transport)
	set(&h, "Authorization", c.authorization)
	if c.via != "" {
		set(&h, "Via", strings.Join(append(values(h, "Via"), "RTSP/1.0 "+c.via), ", "))
	}
	if c.urls != nil {
		edit(h, "KeyMgmt", func(v string) string { return mapKeyMgmt(v, c.urls.toOrigin) })
	}
	return h
}

// A responseChange is what changes in a response's header on its way to the
// viewer; see requestChange.
type responseChange struct {
	cseq, session, transport string
	credentials              bool // the edge has its own for this origin: challenges stay here
	urls                     *urls
}

// responseHeader is an origin's header as the viewer gets it. Order, case and
// unknown fields are kept; Content-Length is left to wire. What Content-Base
// names is learnt.
func responseHeader(h wire.Header, c responseChange) wire.Header {
	h = without(h, "Content-Length", "Via", "Weir-Peer")
	if c.credentials {
		h = without(h, "WWW-Authenticate", "Proxy-Authenticate", "Authentication-Info")
	}
	set(&h, "CSeq", c.cseq)
	set(&h, "Session", c.session)
	set(&h, "Transport", c.transport)
	edit(h, "Public", publicMethods)
	edit(h, "Allow", publicMethods)
	if c.urls == nil {
		return h
	}
	if base := h.Get("Content-Base"); base != "" {
		c.urls.learn(base)
	}
	for _, name := range []string{"Content-Base", "Content-Location", "Location"} {
		h = slices.DeleteFunc(h, func(f wire.Field) bool { return strings.EqualFold(f.Name, name) && foreign(f.Value) })
		edit(h, name, c.urls.toViewer)
	}
	edit(h, "RTP-Info", func(v string) string { return mapRTPInfo(v, c.urls) })
	edit(h, "KeyMgmt", func(v string) string {
		return mapKeyMgmt(v, func(s string) (string, error) { return c.urls.toViewer(s), nil })
	})
	return h
}

// without returns a copy of h that has none of these fields.
func without(h wire.Header, names ...string) wire.Header {
	out := make(wire.Header, 0, len(h)+4)
	for _, f := range h {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, f.Name) }) {
			out = append(out, f)
		}
	}
	return out
}

// set leaves one field of that name, where the first one was; where there was
// none it comes last, but CSeq first. Nothing is done for "".
func set(h *wire.Header, name, value string) {
	if value == "" {
		return
	}
	value = oneLine(value)
	at := slices.IndexFunc(*h, func(f wire.Field) bool { return strings.EqualFold(f.Name, name) })
	switch {
	case at >= 0:
		(*h)[at].Value = value
		rest := slices.DeleteFunc((*h)[at+1:], func(f wire.Field) bool { return strings.EqualFold(f.Name, name) })
		*h = (*h)[:at+1+len(rest)]
	case name == "CSeq":
		*h = slices.Insert(*h, 0, wire.Field{Name: name, Value: value})
	default:
		h.Add(name, value)
	}
}

func edit(h wire.Header, name string, f func(string) string) {
	for i := range h {
		if strings.EqualFold(h[i].Name, name) {
			h[i].Value = oneLine(f(h[i].Value))
		}
	}
}

// oneLine takes out what would end a header line: the next field is nobody's to
// write but ours.
func oneLine(value string) string {
	if !strings.ContainsAny(value, "\r\n\x00") {
		return value
	}
	return strings.NewReplacer("\r", "", "\n", "", "\x00", "").Replace(value)
}

func values(h wire.Header, name string) (all []string) {
	for _, f := range h {
		if strings.EqualFold(f.Name, name) && f.Value != "" {
			all = append(all, f.Value)
		}
	}
	return all
}

// foreign reports whether a URL has a scheme that is not RTSP's: it would lead
// the viewer past the edge.
func foreign(s string) bool {
	_, _, _, ok := splitURL(s)
	scheme, _, absolute := strings.Cut(s, ":")
	return !ok && absolute && !strings.ContainsAny(scheme, "/?#")
}

// looped reports whether a request has come through the edge of this id before
// (RFC 2068 §14.44: the second word is who received it).
func looped(h wire.Header, id string) bool {
	for _, v := range values(h, "Via") {
		for hop := range strings.SplitSeq(v, ",") {
			if f := strings.Fields(hop); len(f) > 1 && f[1] == id {
				return true
			}
		}
	}
	return false
}

// unsupported is what a proxy is required to know (RFC 2326 §12.27). No option
// has ever been registered that this one would.
func unsupported(h wire.Header) (options []string) {
	for _, v := range values(h, "Proxy-Require") {
		for option := range strings.SplitSeq(v, ",") {
			if option = strings.TrimSpace(option); option != "" {
				options = append(options, option)
			}
		}
	}
	return options
}

// publicMethods takes the methods of those who publish out of a list.
func publicMethods(value string) string {
	all := strings.Split(value, ",")
	left := slices.DeleteFunc(slices.Clone(all), func(m string) bool {
		m = strings.TrimSpace(m)
		return strings.EqualFold(m, "ANNOUNCE") || strings.EqualFold(m, "RECORD")
	})
	if len(left) == len(all) {
		return value
	}
	return strings.TrimSpace(strings.Join(left, ","))
}

// mapKeyMgmt maps the uri of a KeyMgmt header (RFC 4567 §4). What cannot be
// mapped stays.
func mapKeyMgmt(value string, to func(string) (string, error)) string {
	for p := range splitQuoted(value, ';') {
		if len(p) > 4 && strings.EqualFold(p[:4], "uri=") {
			uri := strings.Trim(p[4:], `"`)
			if mapped, err := to(uri); err == nil {
				value = strings.Replace(value, p, p[:4]+strings.Replace(p[4:], uri, mapped, 1), 1)
			}
		}
	}
	return value
}
