package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"go.uber.org/zap"

	"weir/proxy/cluster"
)

// heedHangups has the keys of the cluster read again at SIGHUP, until ctx is done.
// Everything else that is in files (certificates, users, keys, lists) is read again
// when it changes, without a signal; flags need another start. c is nil for a node that
// is alone.
func heedHangups(ctx context.Context, c *cluster.Cluster, log *zap.Logger) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangups:
		}
		if c == nil {
			log.Info("SIGHUP: files are read again when they change, flags at the next start")
			continue
		}
		if err := c.Reload(); err != nil {
			log.Warn("keys of the cluster not read, the last ones go on", zap.Error(err))
		}
	}
}
