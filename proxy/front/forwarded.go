package front

import (
	"net/netip"
	"strings"
)

// viewerOf says who sends a request that came on a connection from an address:
// whom a proxy that may say so says. fields returns all values of a field, with
// commas between them.
func (f *Front) viewerOf(from netip.AddrPort, fields func(name string) string) netip.AddrPort {
	if !f.cfg.Forwarded.contain(from.Addr()) {
		return from
	}
	read, chain := hopOfXFF, fields("X-Forwarded-For")
	if chain == "" {
		read, chain = hopOfForwarded, fields("Forwarded")
	}
	return f.walk(from, chain, read)
}

// walk goes back through the hops, each of which was told by the next one, as far
// as that is to be believed: what a viewer says of himself comes first, and is
// never reached.
func (f *Front) walk(from netip.AddrPort, chain string, read func(string) (netip.Addr, bool)) netip.AddrPort {
	last := from
	for more := chain != ""; more; {
		i := strings.LastIndexByte(chain, ',')
		hop := chain[i+1:]
		more = i > 0
		chain = chain[:max(i, 0)]
		a, ok := read(strings.Trim(hop, " \t"))
		if !ok {
			return last
		}
		last = netip.AddrPortFrom(a.Unmap().WithZone(""), 0)
		if !f.cfg.Forwarded.contain(last.Addr()) {
			return last
		}
	}
	return last
}

// hopOfXFF reads one element of X-Forwarded-For: an address, with some proxies and
// a port.
func hopOfXFF(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		return a, true
	}
	ap, err := netip.ParseAddrPort(s)
	return ap.Addr(), err == nil
}

// hopOfForwarded reads one element of Forwarded (RFC 7239 §4): for=192.0.2.1,
// for="[2001:db8::1]:4711"; "unknown" and names that hide are nobody. Commas in
// quotes are cut, and then it is nobody as well.
func hopOfForwarded(s string) (netip.Addr, bool) {
	for pair := range strings.SplitSeq(s, ";") {
		name, value, _ := strings.Cut(strings.Trim(pair, " \t"), "=")
		if strings.EqualFold(name, "for") {
			return hopOfXFF(strings.Trim(value, `"`))
		}
	}
	return netip.Addr{}, false
}
