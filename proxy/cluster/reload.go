package cluster

import (
	"os"
	"time"

	"github.com/hashicorp/memberlist"
	"go.uber.org/zap"
)

// firstKeys reads the keys and makes memberlist's ring of them.
func (c *Cluster) firstKeys() (err error) {
	c.keyFile, _ = os.Stat(c.o.KeyFile)
	if c.keys, err = readKeys(c.o.KeyFile); err != nil || c.keys == nil {
		return err
	}
	c.ring, err = memberlist.NewKeyring(c.keys, c.keys[0])
	return err
}

// Reload reads the file of keys again. If that fails the last ones go on. It need
// not be called: changes are seen within a second or two.
func (c *Cluster) Reload() error {
	c.reload.Lock()
	defer c.reload.Unlock()
	seen, _ := os.Stat(c.o.KeyFile)
	c.mu.Lock()
	c.keyFile = seen
	c.mu.Unlock()
	keys, err := readKeys(c.o.KeyFile)
	if err != nil || keys == nil {
		return err
	}
	if err := install(c.ring, keys); err != nil {
		return err
	}
	c.log.Info("keys read", zap.Int("keys", len(keys)))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.keys = keys
	c.say(time.Now())
	return nil
}

// lookAtKeys reads the file of keys again when it has changed. One that is missing
// is being replaced.
func (c *Cluster) lookAtKeys() {
	if c.o.KeyFile == "" {
		return
	}
	now, err := os.Stat(c.o.KeyFile)
	if err != nil {
		return
	}
	c.mu.Lock()
	seen := c.keyFile
	c.mu.Unlock()
	if seen != nil && now.Size() == seen.Size() && now.ModTime().Equal(seen.ModTime()) && os.SameFile(now, seen) {
		return
	}
	if err := c.Reload(); err != nil {
		c.log.Warn("keys not read, the last ones go on", zap.Error(err))
	}
}
