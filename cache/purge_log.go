package cache

import (
	"cmp"
	"slices"
	"strings"
	"time"
)

// maxPurges bounds a log between two messages: more never fit into one.
const maxPurges = 256

// A numbered purge is one of a topic. The number counts from 1 up; of purges that
// were made into one it is the highest.
type numbered struct {
	purge
	number uint64
	told   time.Time
}

// A purgeLog is what a node tells under one topic, the newest first.
type purgeLog struct {
	purges  []numbered
	last    uint64
	changed bool // since the last message
}

// add puts a purge in, in the place of older ones that it covers.
func (l *purgeLog) add(p purge, now time.Time) {
	l.last++
	fresh := numbered{p.fit(), l.last, now}
	l.purges = slices.DeleteFunc(l.purges, func(old numbered) bool { return fresh.covers(&old.purge) })
	l.purges = slices.Insert(l.purges, 0, fresh)
	l.changed = true
	if len(l.purges) > maxPurges {
		l.merge()
	}
}

// message encodes all that is not over, made wider until it fits.
func (l *purgeLog) message(epoch uint64, now time.Time) []byte {
	l.changed = false
	l.purges = slices.DeleteFunc(l.purges, func(n numbered) bool { return now.Sub(n.told) > purgeTold })
	b := encodePurges(epoch, l.purges)
	for len(b) > purgeMessage {
		l.merge()
		b = encodePurges(epoch, l.purges)
	}
	return b
}

// merge makes two purges into one that covers both: of those of URLs and prefixes
// the two with the longest common prefix, preferably both hard or both soft. Without
// two of those, everything becomes a purge of everything.
func (l *purgeLog) merge() {
	paths := slices.DeleteFunc(slices.Clone(l.purges), func(n numbered) bool { return n.Tag != "" })
	if len(paths) < 2 {
		l.flush()
		return
	}
	slices.SortFunc(paths, func(a, b numbered) int {
		if a.Soft != b.Soft {
			if a.Soft {
				return 1
			}
			return -1
		}
		return cmp.Compare(a.path(), b.path())
	})
	best, prefix := 0, ""
	for i := range len(paths) - 1 {
		if p := commonPrefix(paths[i].path(), paths[i+1].path()); len(p) > len(prefix) {
			best, prefix = i, p
		}
	}
	l.join(prefix, paths[best], paths[best+1])
}

// flush makes all into one.
func (l *purgeLog) flush() { l.join("/", slices.Clone(l.purges)...) }

// join puts a purge of a prefix in the place of several.
func (l *purgeLog) join(prefix string, several ...numbered) {
	one := numbered{purge: purge{Prefix: prefix, Soft: true}}
	for _, n := range several {
		one.Soft = one.Soft && n.Soft
		if n.number > one.number {
			one.number, one.told = n.number, n.told
		}
	}
	l.purges = slices.DeleteFunc(l.purges, func(n numbered) bool {
		return slices.ContainsFunc(several, func(s numbered) bool { return s.number == n.number })
	})
	l.purges = append(l.purges, one)
	slices.SortFunc(l.purges, func(a, b numbered) int { return cmp.Compare(b.number, a.number) })
}

// covers reports whether a purge does what an older one was to do.
func (p *purge) covers(older *purge) bool {
	switch {
	case p.Soft && !older.Soft:
		return false
	case p.Prefix == "/":
		return true
	case p.Prefix != "" && older.Tag == "":
		return strings.HasPrefix(older.path(), p.Prefix)
	}
	return p.URL == older.URL && p.Prefix == older.Prefix && p.Tag == older.Tag
}

// path is the path of a purge by URL or prefix.
func (p *purge) path() string {
	if p.Prefix != "" {
		return p.Prefix
	}
	path, _, _ := strings.Cut(p.URL, "?")
	return path
}

// fit returns a purge that a message has room for. What is too long becomes a
// wider one; no tag is.
func (p purge) fit() purge {
	if len(p.URL) <= maxPurgeText && len(p.Prefix) <= maxPurgeText {
		return p
	}
	return purge{Prefix: commonPrefix(p.path(), p.path()[:min(maxPurgeText, len(p.path()))]), Soft: p.Soft}
}

// commonPrefix is what two paths begin with. It splits no character: paths are UTF-8.
func commonPrefix(a, b string) string {
	return strings.ToValidUTF8(a[:common(a, b)], "")
}

// common is how many bytes two strings have in common at their beginnings.
func common(a, b string) int {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return n
}
