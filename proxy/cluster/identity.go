package cluster

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A Role is what a node is there for.
type Role string

// The roles. A node of another role, of a later version, takes part in gossip and
// in nothing else.
const (
	Edge   Role = "edge"   // serves viewers
	Origin Role = "origin" // an agent, beside a server that edges fetch from
	Other  Role = "other"
)

// An ID is a node's own for ever.
type ID [16]byte

// String is in hexadecimal.
func (id ID) String() string { return hex.EncodeToString(id[:]) }

// newID makes an ID of a name. Two nodes with the same name are the same node.
func newID(name string) (id ID) {
	sum := sha256.Sum256([]byte("weir node " + name))
	return ID(sum[:len(id)])
}

// An Identity is what a node says of itself. It does not change while the node runs.
type Identity struct {
	// Name is the node's, ID made of it, and Epoch the milliseconds since 1970 at
	// which it started. New fills them.
	Name  string
	ID    ID
	Epoch uint64

	Role     Role
	Modes    []string  // what an edge carries, as in -mode
	Services []Service // where it serves
	Weight   int       // of an origin against others, 1 to 65535; 0 is 1
	Capacity int       // sessions at once; 0 for not known
	Paths    []string  // prefixes that an origin serves; none for all
}

// A Service is a door for viewers.
type Service struct {
	Proto string // rtsp, rtsps, http or https
	Host  string // empty: the address of the node's gossip
	Port  uint16
}

// A State is how a node is.
type State string

// The states. A node that has died is left, as is one that went.
const (
	Alive    State = "alive"
	Draining State = "draining" // takes nothing new; its own word
	Left     State = "left"
)

// A Node is one of the cluster's, as this node sees it.
type Node struct {
	Identity
	Gossip netip.AddrPort
	State  State
	Since  time.Time // when this node heard of that State
	Bye    bool      // it has left, and had said that it would
	Self   bool
}

// Carries reports whether a node carries a mode; of the mode "" each does.
func (n *Node) Carries(mode string) bool { return mode == "" || slices.Contains(n.Modes, mode) }

// Addr is host:port of the node's service for a protocol, if it has one.
func (n *Node) Addr(proto string) (addr string, ok bool) {
	for _, s := range n.Services {
		if s.Proto != proto {
			continue
		}
		host := s.Host
		if host == "" {
			host = n.Gossip.Addr().String()
		}
		return net.JoinHostPort(host, strconv.Itoa(int(s.Port))), true
	}
	return "", false
}

// boot is the name of this start of the node. Memberlist remembers names with
// addresses, and does not take one back from another address for a while.
func (i *Identity) boot() string { return fmt.Sprintf("%s-%x", i.Name, i.Epoch) }

// validate finds what must not be gossiped.
func (i *Identity) validate() error {
	bad := func(what string, value any) error { return fmt.Errorf("identity: %s %v", what, value) }
	switch {
	case !validName(i.Name):
		return bad("name", strconv.Quote(i.Name))
	case i.Weight < 0 || i.Weight > 1<<16-1:
		return bad("weight", i.Weight)
	case i.Capacity < 0 || i.Capacity > 1<<32-1:
		return bad("capacity", i.Capacity)
	}
	for _, m := range i.Modes {
		if !validMode(m) {
			return bad("mode", strconv.Quote(m))
		}
	}
	for _, s := range i.Services {
		if protoByte(s.Proto) == 0 || s.Port == 0 || !validHost(s.Host) {
			return bad("service", s)
		}
	}
	for _, p := range i.Paths {
		if !validPath(p) {
			return bad("path", strconv.Quote(p))
		}
	}
	return nil
}

func validName(s string) bool {
	return s != "" && len(s) <= maxName && !strings.ContainsFunc(s, func(r rune) bool { return !word(r) })
}

func validMode(s string) bool { return validName(s) && len(s) <= 16 }

func validHost(s string) bool {
	return len(s) <= 100 && !strings.ContainsFunc(s, func(r rune) bool { return !word(r) && r != ':' })
}

func validPath(s string) bool { return strings.HasPrefix(s, "/") && len(s) <= 200 && printable(s) }

func word(r rune) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || r == '.' || r == '-' || r == '_'
}

// printable reports whether s is of visible ASCII only.
func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
