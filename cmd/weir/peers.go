package main

import (
	"fmt"
	"net"
	"net/netip"

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
