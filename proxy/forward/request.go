package forward

import (
	"net/http"
	"net/netip"
	"strconv"
	"strings"

	"weir/proxy"
)

// Request returns a viewer's request as it goes upstream; req is not changed
// and shares its body. Gone are the fields of one hop, what the viewer says of
// itself in Forwarded, X-Forwarded-* and X-Real-Ip, and Weir-Peer. Via has id,
// and Forwarded, X-Forwarded-For, -Proto and -Host say who asks, if the
// context's viewer has an address.
func Request(req *http.Request, id string) *http.Request {
	out := new(http.Request)
	*out = *req
	out.Header = req.Header.Clone()
	if out.Header == nil {
		out.Header = http.Header{}
	}
	out.Close = false
	cleanHop(out.Header)
	for name := range out.Header {
		if ours(name) {
			delete(out.Header, name)
		}
	}
	addVia(out.Header, req.ProtoMajor, req.ProtoMinor, id)
	setForwarded(out.Header, req)
	if _, ok := out.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = []string{""} // else http.Transport says its own
	}
	return out
}

// ours reports whether a field is for the edge to set. Some servers take an
// underscore for a hyphen.
func ours(name string) bool {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	return strings.HasPrefix(name, "x-forwarded-") || name == "forwarded" || name == "x-real-ip" || name == "weir-peer"
}

func setForwarded(h http.Header, req *http.Request) {
	addr := proxy.ViewerFrom(req.Context()).Addr.Addr().Unmap().WithZone("")
	if !addr.IsValid() {
		return // the edge asks for itself
	}
	proto := "http"
	if req.TLS != nil {
		proto = "https"
	}
	h.Set("Forwarded", forwarded(addr, req.Host, proto))
	h.Set("X-Forwarded-For", addr.String())
	h.Set("X-Forwarded-Proto", proto)
	if req.Host != "" {
		h.Set("X-Forwarded-Host", req.Host)
	}
}

// forwarded is an element of RFC 7239 §4.
func forwarded(addr netip.Addr, host, proto string) string {
	node := addr.String()
	if addr.Is6() {
		node = `"[` + node + `]"`
	}
	s := "for=" + node
	if host != "" {
		s += ";host=" + strconv.Quote(host)
	}
	return s + ";proto=" + proto
}

// answerHere is for what must not go further (RFC 9110 §7.6.2): an OPTIONS or
// TRACE whose Max-Forwards has come to an end. It counts down the others.
func answerHere(w http.ResponseWriter, req *http.Request) bool {
	hops := req.Header.Get("Max-Forwards")
	if hops == "" || req.Method != http.MethodOptions && req.Method != http.MethodTrace {
		return false
	}
	n, err := strconv.ParseUint(hops, 10, 31)
	switch {
	case err != nil:
		(&proxy.Refusal{Reason: proxy.BadRequest}).WriteHTTP(w)
	case n > 0:
		req.Header.Set("Max-Forwards", strconv.FormatUint(n-1, 10))
		return false
	case req.Method == http.MethodTrace: // an echo could show what a front proxy added
		(&proxy.Refusal{Reason: proxy.BadMethod}).WriteHTTP(w)
	default:
		w.WriteHeader(http.StatusNoContent)
	}
	return true
}
