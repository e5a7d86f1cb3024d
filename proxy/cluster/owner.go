package cluster

import (
	"bytes"
	"strings"

	"github.com/cespare/xxhash/v2"
)

// Owner implements proxy.Peers. The mode is what stands before the first colon of
// key, as in "splitter:/cam"; a key without one may be any edge's. The owner is one
// of the edges that are alive, carry the mode and do not drain: by rendezvous, so
// that all nodes that see the same edges agree, and that only the keys of an edge
// that comes or goes change hands. If there is none, it is this node.
func (c *Cluster) Owner(key string) (peer string, self bool) {
	mode, _, ok := strings.Cut(key, ":")
	if !ok {
		mode = ""
	}
	n := owner(c.look().edges, mode, key, nobody)
	if n == nil {
		return c.self.Name, true
	}
	return n.Name, n.Self
}

func nobody(*Node) bool { return false }

// doors are the protocols by which edges ask each other for what a mode owns.
var doors = map[string]string{"splitter": "rtsp", "cache": "http"}

// shut reports whether a node has doors, but not the one that its peers would come by:
// between edges there is no TLS.
func (n *Node) shut(mode string) bool {
	proto := doors[mode]
	if proto == "" || len(n.Services) == 0 {
		return false
	}
	_, ok := n.Addr(proto)
	return !ok
}

// owner is the node with the highest number for the key, but for those to be passed
// over.
func owner(edges []Node, mode, key string, passOver func(*Node) bool) (best *Node) {
	var most uint64
	var d xxhash.Digest
	for i := range edges {
		n := &edges[i]
		if !n.Carries(mode) || n.shut(mode) || passOver(n) {
			continue
		}
		d.Reset()
		d.Write(n.ID[:])   //nolint:errcheck // never fails
		d.WriteString(key) //nolint:errcheck // never fails
		sum := d.Sum64()
		if best == nil || sum > most || sum == most && bytes.Compare(n.ID[:], best.ID[:]) > 0 {
			best, most = n, sum
		}
	}
	return best
}
