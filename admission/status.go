package admission

import (
	"errors"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"weir/proxy"
)

// refusals counts what was said no to, by reason, of which there are few.
type refusals struct {
	metric *prometheus.CounterVec

	mu sync.Mutex
	by map[proxy.Reason]uint64 // challenged among them
}

// challenged is what Unauthorized is counted as for those who are only asked for
// credentials. Viewers are told no such reason.
const challenged proxy.Reason = "challenged"

// counted counts err, if it is one, and returns it.
func (g *Gate) counted(err error) error {
	if err == nil {
		return nil
	}
	r := proxy.Refused(err)
	reason := r.Reason
	if errors.Is(err, errChallenged) {
		reason = challenged
	}
	g.refusals.metric.WithLabelValues(string(reason)).Inc()
	g.refusals.mu.Lock()
	defer g.refusals.mu.Unlock()
	g.refusals.by[reason]++
	return r
}

func (g *Gate) register(reg prometheus.Registerer) {
	g.refusals.by = map[proxy.Reason]uint64{}
	g.refusals.metric = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weir_admission_refused_total", Help: "Viewers, requests and connections refused by the gate; challenged are those without credentials, as most players come first."}, []string{"reason"})
	gauge := func(name, help string, f func(*ledger) float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, func() float64 {
			g.ledger.mu.Lock()
			defer g.ledger.mu.Unlock()
			return f(g.ledger)
		})
	}
	reg.MustRegister(g.refusals.metric,
		gauge("weir_admission_viewers", "Viewers who are in.", func(l *ledger) float64 { return float64(len(l.places)) }),
		gauge("weir_admission_needed_bits_per_second", "What the viewers who are in need.", func(l *ledger) float64 { return float64(l.need) }),
		gauge("weir_admission_sent_bits_per_second", "What was sent to them in the last seconds.", func(l *ledger) float64 { return float64(l.egress) }),
	)
}

// A status is the gate's for the status page.
type status struct {
	Viewers     int                     `json:"viewers"`
	RTSP        int                     `json:"viewers_rtsp"`
	HTTP        int                     `json:"viewers_http"`
	Classes     map[string]int          `json:"viewers_by_class,omitempty"`
	Clients     int                     `json:"clients"`
	Streams     int                     `json:"streams"`
	Subjects    int                     `json:"subjects"`
	Needed      proxy.BitRate           `json:"needed_bits_per_second"`
	Sent        proxy.BitRate           `json:"sent_bits_per_second"`
	Refused     map[proxy.Reason]uint64 `json:"refused_total"`
	Connections int                     `json:"connections"`
	Banned      int                     `json:"banned_addresses"`
	Tables      map[string]table        `json:"tables"`
	Pressure    any                     `json:"pressure"`
	Others      *others                 `json:"other_edges,omitempty"`
}

// A table is one that viewers can make grow, and how far.
type table struct {
	Entries int `json:"entries"`
	Most    int `json:"most"`
}

// others is what the other edges of the cluster have.
type others struct {
	Edges   int           `json:"edges"`
	Viewers int           `json:"viewers"`
	Needed  proxy.BitRate `json:"needed_bits_per_second"`
}

// Status implements proxy.Part.
func (g *Gate) Status() any {
	s := g.ledger.status()
	s.Connections, _ = g.connections.len()
	var watched int
	watched, s.Banned = g.bans.len()
	folders, variants := g.streams.size()
	s.Tables = map[string]table{
		"viewers over http":    {s.HTTP, maxWeb},
		"addresses for a ban":  {watched, maxBans},
		"addresses banned":     {s.Banned, maxBans},
		"banned elsewhere":     {g.bans.hinted(time.Now()), maxHints},
		"addresses with rates": {g.rates.len(), maxRates},
		"folders of playlists": {folders, maxFolders},
		"variants":             {variants, maxVariants},
	}
	if g.credentials != nil {
		s.Tables["verified credentials"] = table{g.credentials.known.len(), maxVerified}
	}
	s.Pressure = g.pressure.status()
	g.refusals.mu.Lock()
	defer g.refusals.mu.Unlock()
	s.Refused = map[proxy.Reason]uint64{}
	for r, n := range g.refusals.by {
		s.Refused[r] = n
	}
	return s
}

func (l *ledger) status() status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := status{Viewers: len(l.places), HTTP: len(l.web), RTSP: len(l.places) - len(l.web),
		Clients: len(l.clients), Streams: len(l.streams), Subjects: len(l.subjects), Needed: l.need, Sent: l.egress}
	if len(l.o.Classes) > 0 {
		s.Classes = map[string]int{}
		for _, p := range l.places {
			s.Classes[l.o.Classes.of(p.class)]++
		}
	}
	if a := l.abroad; a.edges > 0 {
		s.Others = &others{a.edges, a.viewers, a.need}
	}
	return s
}
