package cluster

import (
	"encoding/hex"
	"time"

	"weir/proxy"
)

// reject counts a message that was not taken.
func (c *Cluster) reject(why reason) {
	if n := c.counts[why]; n != nil {
		n.Add(1)
	}
}

// Ready implements proxy.Part. A node waits for its seeds for a while, and does
// without them then.
func (c *Cluster) Ready() error {
	switch {
	case len(c.o.Join) == 0 || c.alive.Load() > 1:
		return nil
	case c.joined.Load():
		return proxy.Degraded("no other node of the cluster is there")
	case c.late.Load():
		return proxy.Degraded("none of -cluster.join has answered yet")
	}
	return errJoining
}

// A status is the cluster's for the status page.
type status struct {
	Name     string            `json:"name"`
	Address  string            `json:"address"`
	State    State             `json:"state"`
	Keys     []string          `json:"keys,omitempty"` // names, not keys
	Nodes    []nodeStatus      `json:"nodes"`
	Lost     []string          `json:"joins_not_found,omitempty"`
	Records  int               `json:"records"`
	Bytes    proxy.Bytes       `json:"records_bytes"`
	Queued   int               `json:"queued"`
	Health   int               `json:"health_score"` // 0 is best
	Sent     proxy.Bytes       `json:"sent_bytes"`
	Received proxy.Bytes       `json:"received_bytes"`
	Rejected map[reason]uint64 `json:"rejected_total"`
	Sharing  *sharing          `json:"sharing,omitempty"`
}

type nodeStatus struct {
	Name     string    `json:"name"`
	Role     Role      `json:"role"`
	State    State     `json:"state"`
	Since    time.Time `json:"since"`
	Started  time.Time `json:"started"` // by its own clock
	Address  string    `json:"address"`
	Modes    []string  `json:"modes,omitempty"`
	Services []string  `json:"services,omitempty"`
	Paths    []string  `json:"paths,omitempty"`
	Weight   int       `json:"weight,omitempty"`
	Capacity int       `json:"capacity,omitempty"`
	Keys     []string  `json:"keys,omitempty"`
}

// Status implements proxy.Part.
func (c *Cluster) Status() any {
	s := status{
		Name: c.self.Name, Address: c.transport.advertise.String(), Queued: c.queued(), Health: c.health(),
		Sent:     proxy.Bytes(c.transport.udpOut.Load() + c.transport.tcpOut.Load()),
		Received: proxy.Bytes(c.transport.udpIn.Load() + c.transport.tcpIn.Load()),
		Rejected: map[reason]uint64{}, Sharing: c.shared.sharing(),
	}
	for why, n := range c.counts {
		s.Rejected[why] = n.Load()
	}
	nodes := c.look().nodes
	now := time.Now()
	c.mu.Lock()
	defer c.mu.Unlock()
	s.State, s.Lost = c.state.state(), append([]string{}, c.lost...)
	s.Records, s.Bytes = c.table.live(now), proxy.Bytes(c.table.bytes)
	for _, n := range nodes {
		s.Nodes = append(s.Nodes, c.nodeStatus(&n, now))
	}
	for _, k := range c.keys {
		id := keyID(k)
		s.Keys = append(s.Keys, hex.EncodeToString(id[:]))
	}
	return s
}

func (c *Cluster) nodeStatus(n *Node, now time.Time) nodeStatus {
	s := nodeStatus{
		Name: n.Name, Role: n.Role, State: n.State, Since: n.Since, Started: time.UnixMilli(int64(n.Epoch)), Address: n.Gossip.String(),
		Modes: n.Modes, Paths: n.Paths, Weight: n.Weight, Capacity: n.Capacity,
	}
	for _, v := range n.Services {
		addr, _ := n.Addr(v.Proto)
		s.Services = append(s.Services, v.Proto+"://"+addr)
	}
	for _, k := range c.keysOf(n.ID, now) {
		s.Keys = append(s.Keys, hex.EncodeToString(k))
	}
	return s
}

// health is memberlist's score of this node's own timeliness: 0 is best, 7 worst.
func (c *Cluster) health() int {
	if list := c.list.Load(); list != nil {
		return list.GetHealthScore()
	}
	return 0
}
