package splitter

import "time"

// SetOrphanGrace is for tests that cannot wait.
func (s *Splitter) SetOrphanGrace(d time.Duration) { s.orphanGrace = d }
