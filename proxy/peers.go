package proxy

import (
	"iter"
	"time"
)

// Peers is how parts of one cluster speak. Alone is the null cluster.
type Peers interface {
	// Owner names the edge that is to fetch key; self when it is this one.
	Owner(key string) (peer string, self bool)
	// Tell spreads at most 1000 bytes; the newest per topic and node wins, and
	// is forgotten after ttl.
	Tell(topic string, b []byte, ttl time.Duration)
	// Told yields what each node told last under a topic.
	Told(topic string) iter.Seq2[string, []byte]
}

// Alone is a cluster of this node only.
var Alone Peers = alone{}

type alone struct{}

func (alone) Owner(string) (string, bool)           { return "", true }
func (alone) Tell(string, []byte, time.Duration)    {}
func (alone) Told(string) iter.Seq2[string, []byte] { return func(func(string, []byte) bool) {} }
