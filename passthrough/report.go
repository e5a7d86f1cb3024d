package passthrough

import (
	"encoding/binary"
	"errors"
	"math"
	"time"

	"weir/proxy"
)

// ReportTopic is what agents tell their reports under (proxy.Peers).
const ReportTopic = "origin"

// ReportTTL is how long a report counts. What is older is not known any more, which
// is not the same as idle.
const ReportTTL = 10 * time.Second

// A Report is what an agent tells of its origin.
type Report struct {
	Sessions int           `json:"sessions"`             // connections to the origin's ports, whoever they are from
	Rate     proxy.BitRate `json:"sent_bits_per_second"` // what the origin's machine sends, all of it
	Load     float64       `json:"load"`                 // of the machine: the busiest of CPU, pressure and capacity; 1 is full
	Well     uint32        `json:"well"`                 // a bit for each service of its Identity, by its place: the agent's probe of it works

	Draining  bool `json:"draining"`            // an operator took it out of rotation: nobody new is to go there
	Uncounted bool `json:"uncounted,omitempty"` // Sessions is not known on this machine, which is not the same as none
}

const reportVersion = 1

// The flags of a report; a later version may have more.
const (
	flagDraining = 1 << iota
	flagUncounted
)

// errReport is all that is said of what is no report.
var errReport = errors.New("not a report of an origin")

// Append encodes a report behind b: a version, load in 255ths, flags, and three numbers
// as varints. Later versions may append to it.
func (r Report) Append(b []byte) []byte {
	load := byte(math.Round(min(max(r.Load, 0), 1) * math.MaxUint8))
	b = append(b, reportVersion, load, r.flags())
	b = binary.AppendUvarint(b, uint64(max(0, r.Sessions)))
	b = binary.AppendUvarint(b, uint64(max(0, r.Rate)))
	return binary.AppendUvarint(b, uint64(r.Well))
}

func (r Report) flags() (b byte) {
	if r.Draining {
		b |= flagDraining
	}
	if r.Uncounted {
		b |= flagUncounted
	}
	return b
}

// ParseReport decodes a report.
func ParseReport(b []byte) (r Report, err error) {
	if len(b) < 3 || b[0] < reportVersion {
		return Report{}, errReport
	}
	r.Load = float64(b[1]) / math.MaxUint8
	r.Draining, r.Uncounted = b[2]&flagDraining != 0, b[2]&flagUncounted != 0
	rest := b[3:]
	var n [3]uint64
	for i, most := range [3]uint64{math.MaxInt32, math.MaxInt64, math.MaxUint32} {
		v, width := binary.Uvarint(rest)
		if width <= 0 || v > most {
			return Report{}, errReport
		}
		n[i], rest = v, rest[width:]
	}
	r.Sessions, r.Rate, r.Well = int(n[0]), proxy.BitRate(n[1]), uint32(n[2])
	return r, nil
}

// A Found is an origin that was discovered: a service of an origin that has an agent.
type Found struct {
	Node     string   // the agent's name
	URL      string   // rtsp://10.0.0.1:554
	Paths    []string // prefixes that it serves; none for all
	Weight   int      // 1 and more
	Capacity int      // sessions at once; 0 for not known
	Draining bool     // its own word: nobody new is to go there
	Gone     bool     // its agent has said goodbye: as draining, but an -origin is as without an agent
	Silent   bool     // gossip does not reach its agent, which need not mean anything
	Unwell   bool     // its agent's probe fails; false if there is no report
	Report   *Report  // nil: there is none, or it is too old
}
