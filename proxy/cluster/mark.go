package cluster

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A mark is what one edge shows another with a request, in Weir-Peer: its name, when
// that was, and an HMAC of these and of the path, with the cluster's first key. It is
// good for one path and a short time, whoever shows it: between edges there is no TLS.

const (
	// markAge is for how long a mark is good, and how far clocks may be apart.
	markAge = 30 * time.Second
	// maxMark bounds a mark in bytes.
	maxMark = maxName + 100
)

// Mark returns what Weir-Peer is to say in a request for a path, which is canonical;
// "" in a cluster without keys, where nobody can tell an edge from a viewer.
func (c *Cluster) Mark(path string) string { return c.mark(path, time.Now()) }

func (c *Cluster) mark(path string, now time.Time) string {
	keys := c.secrets()
	if len(keys) == 0 {
		return ""
	}
	text := fmt.Sprintf("%s,%d", c.self.Name, now.Unix())
	return text + "," + hex.EncodeToString(sign(keys[0], text, path))
}

func (c *Cluster) secrets() [][]byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.keys // replaced, never changed
}

// Verify reports whether a request for a path comes from an edge of this cluster.
func (c *Cluster) Verify(mark, path string) bool { return c.verify(mark, path, time.Now()) }

func (c *Cluster) verify(mark, path string, now time.Time) bool {
	if len(mark) > maxMark {
		return false
	}
	i := strings.LastIndexByte(mark, ',')
	if i < 0 {
		return false
	}
	text := mark[:i]
	sum, err := hex.DecodeString(mark[i+1:])
	_, stamp, ok := strings.Cut(text, ",")
	at, err2 := strconv.ParseInt(stamp, 10, 64)
	if age := now.Sub(time.Unix(at, 0)); !ok || err != nil || err2 != nil || age > markAge || age < -markAge {
		return false
	}
	return slices.ContainsFunc(c.secrets(), func(key []byte) bool { return hmac.Equal(sum, sign(key, text, path)) })
}

func sign(key []byte, text, path string) []byte {
	m := hmac.New(sha256.New, append([]byte("weir peer "), key...))
	m.Write([]byte(text + "\n" + path)) //nolint:errcheck // never fails
	return m.Sum(nil)
}
