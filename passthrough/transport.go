package passthrough

import (
	"iter"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"weir/proxy"
)

// A transport is one offer or answer of a Transport header (RFC 2326 §12.39).
type transport struct {
	profile     string // "RTP/AVP", "RTP/SAVPF" … as written, without the lower part
	tcp         bool
	multicast   bool
	client      [2]int   // ports; -1: none
	interleaved [2]int   // channels; -1: none
	kept        []string // parameters that are passed on as they came: mode, ssrc, unknown ones

	lower       string // "/UDP", "/TCP" as written, or ""
	destination string // "" if none is named
}

var none = [2]int{-1, -1}

// between are parameters that are true between two neighbours only. The last
// two are RFC 7826's.
var between = []string{"unicast", "multicast", "destination", "source", "interleaved", "client_port",
	"server_port", "port", "ttl", "layers", "dest_addr", "src_addr"}

// parseTransports returns the offers of a Transport header in order of
// preference. What cannot be read is left out.
func parseTransports(value string) []transport {
	var all []transport
	for offer := range splitQuoted(value, ',') {
		if t, ok := parseTransport(offer); ok {
			all = append(all, t)
		}
	}
	return all
}

func parseTransport(offer string) (t transport, ok bool) {
	next, stop := iter.Pull(splitQuoted(offer, ';'))
	defer stop()
	spec, _ := next()
	t = transport{client: none, interleaved: none}
	if t, ok = t.spec(spec); !ok {
		return t, false
	}
	ports, channels := true, true
	for p, more := next(); more; p, more = next() {
		name, v, _ := strings.Cut(p, "=")
		name, v = strings.ToLower(strings.TrimSpace(name)), strings.Trim(v, " \t\"")
		switch name {
		case "multicast":
			t.multicast = true
		case "destination":
			t.destination = v
		case "client_port":
			t.client, ports = pair(v, 1, 65535)
		case "interleaved":
			t.interleaved, channels = pair(v, 0, 255)
			channels = channels && t.interleaved[0] != t.interleaved[1]
		}
		if p != "" && !slices.Contains(between, name) && plain(p) {
			t.kept = append(t.kept, p)
		}
	}
	// Some servers fill in ports of 0 where there are channels: what does not
	// matter there may be wrong.
	if t.tcp {
		return t, channels
	}
	return t, ports
}

// plain reports whether every reader sees one parameter where we do, whatever he
// makes of quotes.
func plain(p string) bool {
	return !strings.ContainsAny(p, ";,") && strings.Count(p, `"`)%2 == 0
}

// spec reads "RTP/AVP/TCP".
func (t transport) spec(s string) (transport, bool) {
	p := strings.Split(s, "/")
	if len(p) < 2 || len(p) > 3 || slices.Contains(p, "") || strings.ContainsAny(s, " \t\"=") {
		return t, false
	}
	t.profile = p[0] + "/" + p[1]
	t.lower = s[len(t.profile):]
	t.tcp = strings.EqualFold(t.lower, "/TCP")
	return t, t.tcp || t.lower == "" || strings.EqualFold(t.lower, "/UDP")
}

// pair reads "4-5"; "4" stands for the same.
func pair(s string, least, most int) ([2]int, bool) {
	first, second, two := strings.Cut(s, "-")
	a, err := strconv.ParseUint(strings.TrimSpace(first), 10, 16)
	b := a + 1
	if two && err == nil {
		b, err = strconv.ParseUint(strings.TrimSpace(second), 10, 16)
	}
	if err != nil || int(min(a, b)) < least || int(max(a, b)) > most {
		return none, false
	}
	return [2]int{int(a), int(b)}, true
}

// chooseTransport picks the first offer of a viewer that an edge can serve: RTP,
// for him alone, over TCP, or over UDP if there is any. The error is a
// *proxy.Refusal.
func chooseTransport(value string, viewer netip.Addr, udp bool) (transport, error) {
	for _, t := range parseTransports(value) {
		if t.serves(viewer) && (t.tcp || udp && t.client != none) {
			return t, nil
		}
	}
	return transport{}, &proxy.Refusal{Reason: proxy.BadTransport}
}

// serves reports whether an offer is of RTP to the viewer who makes it. To send
// where somebody else says is how a server is made a weapon (RFC 2326 §12.39).
func (t transport) serves(viewer netip.Addr) bool {
	if t.multicast || len(t.profile) < 4 || !strings.EqualFold(t.profile[:4], "RTP/") {
		return false
	}
	if t.destination == "" {
		return true
	}
	a, err := netip.ParseAddr(t.destination)
	return err == nil && a.Unmap().WithZone("") == viewer.Unmap().WithZone("")
}

// forOrigin is a viewer's offer as the origin gets it: one, and interleaved.
func (t transport) forOrigin(channels [2]int) string {
	return with(t.profile+"/TCP;unicast;interleaved="+span(channels), t.kept)
}

// answerTCP answers the viewer's offer t with what the origin said of its own.
func (t transport) answerTCP(origin transport, channels [2]int) string {
	return with(t.profile+t.lower+";unicast;interleaved="+span(channels), origin.kept)
}

// answerUDP is answerTCP for an offer of ports.
func (t transport) answerUDP(origin transport, server [2]int) string {
	return with(t.profile+t.lower+";unicast;client_port="+span(t.client)+";server_port="+span(server), origin.kept)
}

// ssrc is that of the sender (RFC 2326 §12.39), 0 if it is not said.
func (t *transport) ssrc() uint32 {
	for _, p := range t.kept {
		if name, v, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "ssrc") {
			n, err := strconv.ParseUint(strings.Trim(v, " \t\""), 16, 32)
			if err == nil {
				return uint32(n)
			}
		}
	}
	return 0
}

func with(s string, params []string) string {
	return strings.Join(append([]string{s}, params...), ";")
}

func span(p [2]int) string { return strconv.Itoa(p[0]) + "-" + strconv.Itoa(p[1]) }

// splitQuoted yields what is between separators, trimmed. Quoted strings may
// hold separators; one that does not end holds all that follows.
func splitQuoted(s string, sep byte) iter.Seq[string] {
	return func(yield func(string) bool) {
		start, quoted := 0, false
		for i := 0; i < len(s); i++ {
			switch {
			case quoted && s[i] == '\\':
				i++
			case s[i] == '"':
				quoted = !quoted
			case s[i] == sep && !quoted:
				if !yield(strings.Trim(s[start:i], " \t")) {
					return
				}
				start = i + 1
			}
		}
		yield(strings.Trim(s[start:], " \t"))
	}
}

// parseSession reads "id;timeout=60" (RFC 2326 §12.37). A timeout of 0 means
// that none was said.
func parseSession(value string) (id string, timeout time.Duration, ok bool) {
	id, rest, _ := strings.Cut(value, ";")
	id = strings.Trim(id, " \t")
	ok = id != "" && !strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r >= 0x7f || r == ',' || r == '"' })
	for p := range strings.SplitSeq(rest, ";") {
		k, v, _ := strings.Cut(p, "=")
		n, err := strconv.ParseUint(strings.Trim(v, " \t\""), 10, 31)
		if strings.EqualFold(strings.TrimSpace(k), "timeout") && err == nil {
			timeout = time.Duration(n) * time.Second
		}
	}
	return id, timeout, ok
}

// formatSession is the reverse. Parts of a second are cut off, so that nobody
// comes too late.
func formatSession(id string, timeout time.Duration) string {
	if timeout <= 0 {
		return id
	}
	return id + ";timeout=" + strconv.Itoa(max(1, int(timeout/time.Second)))
}
