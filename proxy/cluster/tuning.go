package cluster

import (
	"time"

	"github.com/hashicorp/memberlist"
)

// delegateVersion is that of what Weir puts into memberlist's messages. It changes
// only when nodes before and after cannot talk; fields come and go without.
const delegateVersion = 1

const (
	// packet is how long memberlist makes datagrams, in bytes, but for a checksum of
	// five: with IPv6's header they are 1280 and pass everywhere, tunnels included.
	packet = 1280 - 48 - 5
	// around is what else may stand in one: encryption, the label, and the frames of
	// several messages and of one.
	around = 29 + (2 + maxLabel) + 2 + (2 + 1)
)

// The longest record fits. One that does not would never be sent and stay queued.
const _ = uint(packet - around - maxRecord)

// How often each node sends a record on, times the digits of the number of nodes. In a
// model of it, with no packet lost, one in 4 records misses one of 5 nodes if it is sent
// twice, one in 70 if three times, none of 10000 if six times; of 9 nodes one in 5 with
// three times, one in 240 with six. What is one of many may miss somebody now and then,
// since the next one will not; news should not.
const (
	urgentTimes = 6
	bulkTimes   = 3
)

// A tuning has the times that tests shorten.
type tuning struct {
	probe, probeTimeout time.Duration // how often one node is asked for a sign of life, and how long that may take
	gossip              time.Duration // how often news is sent, to three nodes each time
	pushPull            time.Duration // how often all is exchanged with one node
	suspicion           int           // of probes, times the digits of the number of nodes: until a node is dead
	dead                time.Duration // how long news is sent to one that died
	rejoin              time.Duration
	tick                time.Duration // of our own work
	patience            time.Duration // until a node that reaches no other is ready nevertheless
	flush, leave        time.Duration // the longest that what was told last, and the leave, may take
	propagate           time.Duration // between the leave and the closing of the socket
	cut                 func(to string) bool
}

// usual is for a local network: a dead node is noticed after six or seven seconds, among
// less than four nodes, who have nobody to confirm it, after fifteen to twenty-five;
// what is told reaches a hundred nodes within one or two.
var usual = tuning{
	probe: time.Second, probeTimeout: 300 * time.Millisecond, gossip: 100 * time.Millisecond, pushPull: 30 * time.Second,
	suspicion: 4, dead: 30 * time.Second, rejoin: 10 * time.Second, tick: time.Second, patience: 15 * time.Second,
	flush: time.Second, leave: 2 * time.Second, propagate: 500 * time.Millisecond,
}

// config is memberlist's. It has no RequireNodeNames: a seed is known by its address
// only, and memberlist would refuse to join it.
func (c *Cluster) config() *memberlist.Config {
	m := memberlist.DefaultLANConfig()
	m.Name, m.Label, m.Transport = c.boot, c.o.Label, c.transport
	m.BindPort, m.AdvertisePort = int(c.transport.advertise.Port()), int(c.transport.advertise.Port())
	if c.ring != nil {
		m.Keyring = c.ring
	}
	m.Delegate, m.Events, m.Alive = delegate{c}, events{c}, events{c}
	m.DelegateProtocolMin, m.DelegateProtocolMax, m.DelegateProtocolVersion = delegateVersion, delegateVersion, delegateVersion
	m.Logger = newMemberLog(c.log)
	m.EnableCompression = false // a hundred bytes hardly compress, and each packet would be tried
	m.UDPBufferSize = packet
	m.TCPTimeout = 5 * time.Second
	m.DeadNodeReclaimTime = 30 * time.Second
	m.ProbeInterval, m.ProbeTimeout = c.tuning.probe, c.tuning.probeTimeout
	m.GossipInterval, m.PushPullInterval = c.tuning.gossip, c.tuning.pushPull
	m.SuspicionMult, m.GossipToTheDeadTime = c.tuning.suspicion, c.tuning.dead
	return m
}
