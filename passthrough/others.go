package passthrough

import "time"

// Others reports whether a live path has an origin that is up besides one, by its name.
func (b *Balancer) Others(path, than string) bool {
	p := b.pool(false, path)
	if p == nil {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(p.sift(query{path: path, avoid: []string{than}, look: true}, time.Now(), b.opts.SlowStart).usable) > 0
}
