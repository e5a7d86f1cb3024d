package cluster

import (
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// leave tells the others, waits until that and all that was told before has gone
// out, and closes the sockets.
func (c *Cluster) leave(list *memberlist.Memberlist) {
	c.become(sayLeaving)
	if c.shared != nil {
		c.shared.http.CloseIdleConnections()
	}
	if c.alive.Load() > 1 {
		c.flush()
		if err := list.Leave(c.tuning.leave); err != nil {
			c.log.Debug("left without being sure that others heard", zap.Error(err))
		}
		// Others who have not heard yet should still find somebody who answers.
		<-time.After(c.tuning.propagate)
	}
	list.Shutdown() //nolint:errcheck // returns none
}

// flush waits until the queues are empty. They may never be where there is much to
// relay.
func (c *Cluster) flush() {
	tick := time.NewTicker(c.tuning.gossip / 4)
	defer tick.Stop()
	over := time.After(c.tuning.flush)
	for c.queued() > 0 {
		select {
		case <-over:
			return
		case <-tick.C:
		}
	}
}

func (c *Cluster) queued() int { return c.urgent.NumQueued() + c.bulk.NumQueued() }
