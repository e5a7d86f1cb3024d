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
	f := func(n cluster.Node, r *passthrough.Report, draining, gone, silent, rtspUnwell, httpUnwell bool) {
		t.Helper()
		edge := cluster.Node{Identity: cluster.Identity{Name: "e", Role: cluster.Edge, Services: []cluster.Service{{Proto: "rtsp", Port: 8554}}}}
		got := findings([]cluster.Node{edge, n}, map[string]*passthrough.Report{"o": r})
		if len(got) != 2 || got[0].URL != "rtsp://10.0.0.1:554" || got[1].URL != "http://10.0.0.9:80" || got[0].Weight != 2 || got[0].Capacity != 50 || got[0].Paths[0] != "/vod" {
			t.Fatalf("found %+v", got)
		}
		for i, unwell := range []bool{rtspUnwell, httpUnwell} {
			if g := got[i]; g.Draining != draining || g.Gone != gone || g.Silent != silent || g.Unwell != unwell {
				t.Errorf("%s, said goodbye %v, report %+v: found %+v", n.State, n.Bye, r, g)
			}
		}
	}
	const yes, no = true, false
	f(node(cluster.Alive, no), nil, no, no, no, no, no)
	f(node(cluster.Alive, no), &passthrough.Report{Well: 3}, no, no, no, no, no)
	f(node(cluster.Alive, no), &passthrough.Report{Well: 2}, no, no, no, yes, no)
	f(node(cluster.Alive, no), &passthrough.Report{Well: 3, Draining: true}, yes, no, no, no, no)
	f(node(cluster.Draining, no), nil, yes, no, no, no, no)
	f(node(cluster.Left, yes), nil, no, yes, no, no, no)
	f(node(cluster.Left, no), &passthrough.Report{Well: 0}, no, no, yes, no, no)
	f(node(cluster.Left, no), &passthrough.Report{Well: 3, Draining: true}, yes, no, yes, no, no)
}
