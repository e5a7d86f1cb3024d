package main

import (
	"context"
	"sync"
	"time"

	"weir/passthrough"
	"weir/proxy/cluster"
)

// discovery tells the balancer which origins the cluster knows of: a goroutine of its
// own, since gossip may not wait.
type discovery struct {
	cluster *cluster.Cluster
	to      *passthrough.Balancer
	news    chan struct{} // of one

	mu   sync.Mutex
	last []passthrough.Found
}

// discoverEvery is how often reports are looked at. Nodes that come, go or drain are
// told at once.
const discoverEvery = time.Second

func newDiscovery(c *cluster.Cluster, to *passthrough.Balancer) *discovery {
	d := &discovery{cluster: c, to: to, news: make(chan struct{}, 1)}
	c.OnChange(func() {
		select {
		case d.news <- struct{}{}:
		default:
		}
	})
	return d
}

// Run implements proxy.Part.
func (d *discovery) Run(ctx context.Context) error {
	tick := time.NewTicker(discoverEvery)
	defer tick.Stop()
	for {
		d.look()
		select {
		case <-ctx.Done():
			return nil
		case <-d.news:
		case <-tick.C:
		}
	}
}

// look asks gossip, and tells the balancer.
func (d *discovery) look() {
	reports := map[string]*passthrough.Report{}
	for node, b := range d.cluster.Told(passthrough.ReportTopic) {
		if r, err := passthrough.ParseReport(b); err == nil {
			reports[node] = &r
		}
	}
	found := findings(d.cluster.Nodes(), reports)
	d.to.Discover(found)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = found
}

// findings are the services of origins that have an agent. One that is gone without a
// word need not mean anything, but what an operator has said of the origin counts on.
func findings(nodes []cluster.Node, reports map[string]*passthrough.Report) (all []passthrough.Found) {
	for _, n := range nodes {
		if n.Role != cluster.Origin {
			continue
		}
		r := reports[n.Name]
		for i, s := range n.Services {
			addr, _ := n.Addr(s.Proto)
			f := passthrough.Found{Node: n.Name, URL: s.Proto + "://" + addr, Paths: n.Paths, Weight: n.Weight, Capacity: n.Capacity, Gone: n.Bye}
			f.Draining = n.State == cluster.Draining || r != nil && r.Draining
			if f.Silent = n.State == cluster.Left && !n.Bye; !f.Silent && r != nil {
				f.Report, f.Unwell = r, r.Well&(1<<i) == 0
			}
			all = append(all, f)
		}
	}
	return all
}

// Status implements proxy.Part: what was found is in the status of the origins.
func (d *discovery) Status() any {
	d.mu.Lock()
	defer d.mu.Unlock()
	return struct {
		Found int `json:"found"`
	}{len(d.last)}
}

// Ready implements proxy.Part.
func (d *discovery) Ready() error { return nil }
