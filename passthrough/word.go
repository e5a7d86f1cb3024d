package passthrough

import (
	"time"
)

// A word is what an origin's agent says of it. The zero word says nothing. The
// balancer's lock guards it.
type word struct {
	node                     string // the agent's name; "" for none
	draining, silent, unwell bool
	capacity                 int // 0 for not known
	report                   Report
	known                    bool // the report counts
	heard                    time.Time
	opened                   int // sessions of this edge that the report may not have yet
}

// What agents say is told at least so often; a report is as good as new for so long.
const reportEvery = 3 * time.Second

// fullLoad is the load of a machine from which on it gets new sessions last.
const fullLoad = 0.95

// told takes what is found of an origin.
func (w *word) told(f Found, now time.Time) {
	w.node, w.draining, w.silent, w.unwell, w.capacity = f.Node, f.Draining || f.Gone, f.Silent, f.Unwell, f.Capacity
	switch {
	case f.Report == nil || f.Report.Uncounted:
		w.known = false
	case !w.known || *f.Report != w.report || now.Sub(w.heard) >= reportEvery:
		// One that says the same as before may be the same: sessions that were opened
		// since are counted on until it must be a new one.
		w.report, w.known, w.heard, w.opened = *f.Report, true, now, 0
	}
	if w.report.Load = 0; f.Report != nil {
		w.report.Load = f.Report.Load
	}
}

// load is how many sessions the origin has, all edges' together; ok is false if that
// is not known.
func (w *word) load() (n int, ok bool) { return w.report.Sessions + w.opened, w.known }

// refuses reports whether its own word is that nobody new is to go there.
func (w *word) refuses() bool { return w.draining || w.unwell }

// last reports whether new sessions go there only if they cannot go elsewhere.
func (w *word) last() bool {
	return w.silent || w.node != "" && w.report.Load >= fullLoad
}

// says is the word for people, "" if there is none.
func (w *word) says() string {
	switch {
	case w.node == "":
		return ""
	case w.draining:
		return "draining"
	case w.unwell:
		return "unwell"
	case w.silent:
		return "silent"
	}
	return "ready"
}

// status fills in what a word has for the status page.
func (w *word) status(s *OriginStatus, now time.Time) {
	s.Agent, s.Word = w.node, w.says()
	if w.node == "" {
		return
	}
	load := w.report.Load
	s.Load = &load
	if w.known {
		n := w.report.Sessions
		s.Counted, s.Reported = &n, now.Sub(w.heard).Seconds()
	}
}
