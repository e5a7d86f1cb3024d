package admission

import (
	"net/netip"

	"github.com/gaissmai/bart"
)

// spared are the addresses that are not one client's: load balancers, behind which
// are many viewers, and the edges of the cluster, each of which asks for what many
// want. What they do is held against nobody. Nil spares nobody.
type spared struct {
	trusted *bart.Lite
	edge    func(netip.Addr) bool // nil: nobody
}

func spare(trusted []netip.Prefix, edge func(netip.Addr) bool) *spared {
	return &spared{tableOf(trusted), edge}
}

// has reports whether an address is spared now: edges come and go.
func (s *spared) has(a netip.Addr) bool {
	if s == nil {
		return false
	}
	a = a.Unmap().WithZone("")
	return s.trusted.Contains(a) || s.edge != nil && s.edge(a)
}
