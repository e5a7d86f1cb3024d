package cluster

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var errJoining = errors.New("none of -cluster.join has answered yet")

// A collector reads the metrics when it is asked for them.
type collector struct{ c *Cluster }

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("weir_cluster_"+name, help, labels, nil)
}

var (
	nodesDesc    = desc("nodes", "Nodes of the cluster that this one knows, itself included.", "role", "state")
	recordsDesc  = desc("records", "Records of all nodes that are live.")
	bytesDesc    = desc("records_bytes", "What the records of all nodes take.")
	queuedDesc   = desc("queued_records", "Records that wait to be gossiped.")
	healthDesc   = desc("health_score", "How far behind this node is with gossip: 0 is best.")
	rejectedDesc = desc("rejected_total", "Messages of other nodes that were not taken.", "reason")
	pullsDesc    = desc("pulls_total", "Live streams that were pulled from the edge that owns them.")
	fillsDesc    = desc("fills_total", "Requests that the edge which owns an object has answered.")
	fallsDesc    = desc("fallbacks_total", "Pulls and fills for which an origin was asked because an edge failed.")
	sentDesc     = desc("sent_bytes_total", "Gossip sent.", "transport")
	receivedDesc = desc("received_bytes_total", "Gossip received.", "transport")
)

// Describe implements prometheus.Collector.
func (m collector) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{nodesDesc, recordsDesc, bytesDesc, queuedDesc, healthDesc, rejectedDesc, pullsDesc, fillsDesc, fallsDesc, sentDesc, receivedDesc} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (m collector) Collect(ch chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, v int, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(v), labels...)
	}
	count := func(d *prometheus.Desc, v uint64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
	}
	c, t := m.c, m.c.transport
	nodes := map[[2]string]int{}
	for _, n := range c.look().nodes {
		nodes[[2]string{string(n.Role), string(n.State)}]++
	}
	for _, role := range []Role{Edge, Origin, Other} {
		for _, state := range []State{Alive, Draining, Left} {
			gauge(nodesDesc, nodes[[2]string{string(role), string(state)}], string(role), string(state))
		}
	}
	c.mu.Lock()
	records, bytes := c.table.live(time.Now()), c.table.bytes
	c.mu.Unlock()
	gauge(recordsDesc, records)
	gauge(bytesDesc, bytes)
	gauge(queuedDesc, c.queued())
	gauge(healthDesc, c.health())
	for why, n := range c.counts {
		count(rejectedDesc, n.Load(), string(why))
	}
	if u := c.shared; u != nil {
		count(pullsDesc, u.pulls.Load())
		count(fillsDesc, u.fills.Load())
		count(fallsDesc, u.falls.Load())
	}
	count(sentDesc, t.udpOut.Load(), "udp")
	count(sentDesc, t.tcpOut.Load(), "tcp")
	count(receivedDesc, t.udpIn.Load(), "udp")
	count(receivedDesc, t.tcpIn.Load(), "tcp")
}
