package main

import (
	"net/netip"
	"testing"

	"weir/passthrough"
	"weir/proxy/cluster"
)

func TestFindings(t *testing.T) {
	node := func(state cluster.State, bye bool) cluster.Node {
		return cluster.Node{
			Identity: cluster.Identity{Name: "o", Role: cluster.Origin, Weight: 2, Capacity: 50, Paths: []string{"/vod"},
				Services: []cluster.Service{{Proto: "rtsp", Port: 554}, {Proto: "http", Host: "10.0.0.9", Port: 80}}},
			Gossip: netip.MustParseAddrPort("10.0.0.1:7946"), State: state, Bye: bye,
		}
	}
	f := func(n cluster.Node, r *passthrough.Report, draining, silent, rtspUnwell, httpUnwell bool) {
		t.Helper()
		edge := cluster.Node{Identity: cluster.Identity{Name: "e", Role: cluster.Edge, Services: []cluster.Service{{Proto: "rtsp", Port: 8554}}}}
		got := findings([]cluster.Node{edge, n}, map[string]*passthrough.Report{"o": r})
		if len(got) != 2 || got[0].URL != "rtsp://10.0.0.1:554" || got[1].URL != "http://10.0.0.9:80" || got[0].Weight != 2 || got[0].Capacity != 50 || got[0].Paths[0] != "/vod" {
			t.Fatalf("found %+v", got)
		}
		for i, unwell := range []bool{rtspUnwell, httpUnwell} {
			if g := got[i]; g.Draining != draining || g.Silent != silent || g.Unwell != unwell {
				t.Errorf("%s, said goodbye %v, report %+v: found %+v", n.State, n.Bye, r, g)
			}
		}
	}
	f(node(cluster.Alive, false), nil, false, false, false, false)
	f(node(cluster.Alive, false), &passthrough.Report{Well: 3}, false, false, false, false)
	f(node(cluster.Alive, false), &passthrough.Report{Well: 2}, false, false, true, false)
	f(node(cluster.Alive, false), &passthrough.Report{Well: 3, Draining: true}, true, false, false, false)
	f(node(cluster.Draining, false), nil, true, false, false, false)
	f(node(cluster.Left, true), nil, true, false, false, false)
	f(node(cluster.Left, false), &passthrough.Report{Well: 0, Draining: true}, false, true, false, false)
}
