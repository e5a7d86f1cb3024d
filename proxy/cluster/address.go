package cluster

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
)

// advertise is where other nodes reach this one that is bound to listen. A port
// of 0 stands for the one bound.
func (o *Options) advertise(listen netip.AddrPort) (netip.AddrPort, error) {
	if o.Advertise != "" {
		return parseAdvertise(o.Advertise)
	}
	if !listen.Addr().IsUnspecified() {
		return netip.AddrPortFrom(listen.Addr(), 0), nil
	}
	all, err := net.InterfaceAddrs()
	if err != nil {
		return netip.AddrPort{}, fmt.Errorf("-cluster.advertise: must be given, this machine's addresses are not known: %w", err)
	}
	addr, err := only(all, listen.Addr())
	return netip.AddrPortFrom(addr, 0), err
}

func parseAdvertise(s string) (netip.AddrPort, error) {
	ap, err := netip.ParseAddrPort(s)
	if err != nil {
		var addr netip.Addr
		addr, err = netip.ParseAddr(strings.Trim(s, "[]"))
		ap = netip.AddrPortFrom(addr, 0)
	}
	if err != nil || !reachable(ap.Addr()) {
		return netip.AddrPort{}, fmt.Errorf("-cluster.advertise %s: must be the IP address of one host, with or without a port", s)
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), nil
}

// reachable reports whether an address can be told to others.
func reachable(a netip.Addr) bool {
	return a.IsValid() && !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == ""
}

// only is the one address of this machine that others can reach, of IPv4 if there
// is any. It does not guess: of two addresses, the wrong one would make a node that
// hears and is not heard.
func only(all []net.Addr, listen netip.Addr) (netip.Addr, error) {
	var v4, v6 []netip.Addr
	for _, a := range all {
		ipnet, ok := a.(*net.IPNet)
		if !ok {
			continue
		}
		switch addr, _ := netip.AddrFromSlice(ipnet.IP); {
		case !addr.IsGlobalUnicast():
		case addr.Unmap().Is4():
			v4 = append(v4, addr.Unmap())
		case !listen.Is4():
			v6 = append(v6, addr)
		}
	}
	usable := v4
	if len(v4) == 0 {
		usable = v6
	}
	if len(usable) != 1 {
		return netip.Addr{}, fmt.Errorf("-cluster.advertise: must be given, this machine has %d addresses that others could reach %v", len(usable), usable)
	}
	return usable[0], nil
}
