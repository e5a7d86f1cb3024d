package passthrough

import (
	"bytes"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	// maxLast and maxLastText bound what is kept of playlists: 256 of up to 64 KiB
	// each, 16 MiB in all. Who finds no room may see his playlist go back once.
	maxLast     = 256
	maxLastText = 64 << 10
	// fewBehind is by how many segments an origin may be behind another that is
	// gone, so that its playlist is held back until it has caught up. One that is
	// further behind numbers them otherwise.
	fewBehind = 3
	// laterShare is the part of a target duration after which a segment is asked
	// for once more that an origin has not yet, and laterTimes how often.
	laterShare, laterTimes = 4, 6
)

// A last is the playlist that was last passed on of some stream.
type last struct {
	stick  uint64
	origin string // who gave it
	scan   scan
	text   []byte
	at     time.Time // when
}

// keep remembers a playlist that is passed on, for when its origin is gone and the
// others are not as far. What was made for one request is of no use.
func (m *streamMemory) keep(s *stream, l last) {
	if s.special || s.text == 0 || l.scan.ended || len(l.text) > maxLastText {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if at, _ := m.marks.Peek(s.playlist); at.position == l.scan.position { // it was not overtaken
		m.lasts.Add(s.text, l)
	}
}

// last returns the playlist that viewers have seen instead of one that is a little
// behind it.
func (m *streamMemory) last(s *stream, behind scan) (l last, ok bool) {
	if s.special || s.text == 0 {
		return last{}, false
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	l, ok = m.lasts.Get(s.text)
	return l, ok && !l.scan.before(s.mark.position) && behind.next+fewBehind >= l.scan.next
}

// listed returns the target duration of a stream of which viewers have a playlist
// that lists a file, and have it from another origin than o.
func (m *streamMemory) listed(stick uint64, name string, o *origin) (target time.Duration, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, id := range m.lasts.Keys() {
		l, _ := m.lasts.Peek(id)
		if l.stick == stick && l.origin != o.name && time.Since(l.at) < 3*l.scan.target+leastGrace && l.lists(name) {
			return l.scan.target, true
		}
	}
	return 0, false
}

// lists reports whether it has a segment or part of that name, in whatever folder.
func (l *last) lists(name string) bool {
	for rest := l.text; ; {
		i := bytes.Index(rest, []byte(name))
		if i < 0 {
			return false
		}
		before, after := i == 0 || bytes.IndexByte([]byte("/\"\n\r"), rest[i-1]) >= 0, rest[i+len(name):]
		if before && (len(after) == 0 || bytes.IndexByte([]byte("?\"\r\n"), after[0]) >= 0) {
			return true
		}
		rest = after
	}
}

// again answers with the playlist that viewers have seen already, instead of one
// that is a little behind: to them the stream has paused, and not gone back.
func (t *trip) again(res *http.Response, best scan) bool {
	l, ok := t.b.memory.last(t.stream, best)
	if !ok {
		return false
	}
	res.Body.Close() //nolint:errcheck // it has been read
	res.Body, res.ContentLength = &scannedBody{bytes.NewReader(l.text), l.scan, l.text}, int64(len(l.text))
	for _, name := range []string{"Content-Length", "Etag", "Last-Modified", "Content-Md5", "Digest", "Content-Digest", "Repr-Digest"} {
		res.Header.Del(name)
	}
	return true
}

// detach reads an answer's body to its end, so that it holds no place at its origin, unless
// it is long.
func detach(res *http.Response) {
	text, err := io.ReadAll(io.LimitReader(res.Body, maxLastText))
	if err != nil || len(text) == maxLastText {
		res.Body = partRead{io.MultiReader(bytes.NewReader(text), res.Body), res.Body}
		return
	}
	res.Body.Close() //nolint:errcheck // it has been read
	res.Body = io.NopCloser(bytes.NewReader(text))
}

// later asks o again for a segment that viewers know of by a playlist of an origin
// that was ahead of it, and is gone: it will have it soon.
func (t *trip) later(o *origin, res *http.Response) *http.Response {
	s, m := t.stream, t.b.memory
	name := path.Base(s.path)
	target, ok := m.listed(s.stick, name, o)
	if !ok || slices.Contains([]string{"/", "."}, name) || strings.HasSuffix(name, ".m3u8") {
		return res
	}
	detach(res)
	for i := range laterTimes {
		if !sleepUntil(t.req.Context(), time.Now().Add(target/laterShare)) {
			break
		}
		if !m.spend(s.pool, time.Now()) && i < laterTimes-1 { // the last time is free: there is such a segment
			continue
		}
		found, err := t.aside(o)
		if err != nil {
			break
		}
		if found.StatusCode < http.StatusBadRequest {
			res.Body.Close() //nolint:errcheck // nobody reads it
			m.found.Add(1)
			return found
		}
		found.Body.Close() //nolint:errcheck // nobody reads it
	}
	return res
}
