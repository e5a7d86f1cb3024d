package main

import (
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"

	"weir/proxy"
	"weir/proxy/admin"
	"weir/proxy/cluster"
)

// addCluster makes the node one of a cluster, if it is to be.
func (n *node) addCluster(c *config, env *proxy.Env) (err error) {
	if c.cluster.Off() {
		return nil
	}
	id := cluster.Identity{Role: cluster.Edge, Modes: c.ladder()}
	n.peers, err = cluster.New(cluster.Config{Options: *c.cluster, Identity: id, Metrics: env.Metrics, Log: env.Log})
	if err != nil {
		return err
	}
	env.Peers = n.peers
	n.parts = append(n.parts, admin.Named{Name: "cluster", Part: n.peers})
	return nil
}

// peer tells the front which requests come from edges of the cluster; nil if there is
// none.
func (n *node) peer() func(mark, path string) bool {
	if n.peers == nil {
		return nil
	}
	return n.peers.Verify
}

// edge tells the gate which addresses are nodes' of the cluster; nil if there are none.
func (n *node) edge() func(netip.Addr) bool {
	if n.peers == nil {
		return nil
	}
	var known atomic.Pointer[map[netip.Addr]bool]
	look := func() {
		all := map[netip.Addr]bool{}
		for _, p := range n.peers.Nodes() {
			if p.Role != cluster.Edge || p.State == cluster.Left {
				continue
			}
			all[p.Gossip.Addr()] = true
			for _, s := range p.Services {
				if a, err := netip.ParseAddr(s.Host); err == nil {
					all[a] = true
				}
			}
		}
		known.Store(&all)
	}
	look()
	n.peers.OnChange(look)
	return func(a netip.Addr) bool { return (*known.Load())[a] }
}

// serve tells the cluster where this node serves viewers, and so its peers.
func (n *node) serve() error {
	if n.peers == nil {
		return nil
	}
	var all []cluster.Service
	for _, l := range []struct {
		proto string
		addr  net.Addr
	}{{"rtsp", n.front.RTSPAddr()}, {"http", n.front.HTTPAddr()}, {"rtsps", n.front.RTSPSAddr()}, {"https", n.front.HTTPSAddr()}} {
		if s, ok := service(l.proto, l.addr, n.peers.Address()); ok {
			all = append(all, s)
		}
	}
	if err := n.peers.Serve(all); err != nil {
		return fmt.Errorf("cluster: %w", err)
	}
	return nil
}

// service is a listener as others reach it; ok is false if they cannot, since it is on
// loopback and gossip is not.
func service(proto string, l net.Addr, gossip netip.Addr) (s cluster.Service, ok bool) {
	tcp, ok := l.(*net.TCPAddr)
	if !ok || tcp == nil {
		return s, false
	}
	s = cluster.Service{Proto: proto, Port: uint16(tcp.Port)}
	at := tcp.AddrPort().Addr().Unmap()
	switch {
	case at.IsUnspecified() || at == gossip:
	case at.IsLoopback() && !gossip.IsLoopback():
		return s, false
	default:
		s.Host = at.WithZone("").String()
	}
	return s, true
}
