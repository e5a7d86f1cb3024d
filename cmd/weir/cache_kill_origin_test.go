package main

import (
	"bytes"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A shifting is an origin whose objects change all the time. What is in one is a
// function of its path and its version, and the ETag says which version that is: of
// any answer it can be told whether it is whole, of one piece, and how old.
type shifting struct {
	*cacheOrigin
	items []shiftingItem
	began time.Time

	mu      sync.Mutex
	vouched map[string]time.Time // by path and version: when the origin last said that this is it
}

type shiftingItem struct {
	path  string
	size  int64         // about
	life  time.Duration // max-age
	shift time.Duration // between two versions
}

// newShifting has 200 objects of 4 KiB to 3 MiB, small ones rather, which are good
// for 1 s to 60 s.
func newShifting(t *testing.T) *shifting {
	s := &shifting{began: time.Now(), vouched: map[string]time.Time{}}
	dice := rand.New(rand.NewPCG(4, 2))
	lives := []int{1, 2, 4, 10, 30, 60, 60, 60}
	for i := range 200 {
		s.items = append(s.items, shiftingItem{
			path:  fmt.Sprintf("/item%03d.bin", i),
			size:  4<<10 + int64(math.Exp(dice.Float64()*math.Log(3<<20-4<<10))),
			life:  time.Duration(lives[i%len(lives)]) * time.Second,
			shift: time.Duration(3000+dice.IntN(27000)) * time.Millisecond,
		})
	}
	s.cacheOrigin = newCacheOrigin(t, s.serve)
	return s
}

// sizeOf is another one for each version, so that a mixture has a wrong length, too.
func (it *shiftingItem) sizeOf(version int) int64 { return it.size + int64(version%16) }

func (it *shiftingItem) id(version int) string { return fmt.Sprintf("%s v%d", it.path, version) }

func (it *shiftingItem) content(version int, from, to int64) []byte {
	return patternOf(it.id(version), from, to)
}

func (s *shifting) serve(w http.ResponseWriter, r *http.Request) {
	var n int
	if _, err := fmt.Sscanf(r.URL.Path, "/item%d.bin", &n); err != nil || n >= len(s.items) {
		http.NotFound(w, r)
		return
	}
	it, now := &s.items[n], time.Now()
	version := s.version(it, now)
	s.mu.Lock()
	s.vouched[it.id(version)] = now
	s.mu.Unlock()
	w.Header().Set("Etag", fmt.Sprintf(`"v%d"`, version))
	w.Header().Set("Cache-Control", fmt.Sprintf("max-age=%d", it.life/time.Second))
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(it.content(version, 0, it.sizeOf(version))))
}

func (s *shifting) version(it *shiftingItem, at time.Time) int {
	return int(at.Sub(s.began) / it.shift)
}

// outdated reports whether an answer that began is of another version than the
// origin has now.
func (s *shifting) outdated(it *shiftingItem, a cacheAnswer) bool {
	return a.header.Get("Etag") != "" && a.header.Get("Etag") != fmt.Sprintf(`"v%d"`, s.version(it, time.Now()))
}

// vouchedFor is when the origin last said that a version is the object.
func (s *shifting) vouchedFor(it *shiftingItem, version int) time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.vouched[it.id(version)]
}

// clockSlack is what a second's resolution of dates, and a busy machine, may make an
// answer too old.
const clockSlack = 2 * time.Second

// wrong says what is wrong with an answer, "" if nothing is. version is that of a
// good one.
func (s *shifting) wrong(it *shiftingItem, a cacheAnswer) (version int, why string) {
	if a.status != http.StatusOK && a.status != http.StatusPartialContent {
		return 0, fmt.Sprintf("status %d: %.80q", a.status, a.body)
	}
	version, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(a.header.Get("Etag"), `"v`), `"`))
	if err != nil {
		return 0, fmt.Sprintf("ETag %q", a.header.Get("Etag"))
	}
	from, to, size := int64(0), it.sizeOf(version), it.sizeOf(version)
	if a.status == http.StatusPartialContent {
		if n, err := fmt.Sscanf(a.header.Get("Content-Range"), "bytes %d-%d/%d", &from, &to, &size); n != 3 || from < 0 || from > to || size != it.sizeOf(version) {
			return version, fmt.Sprintf("Content-Range %q of version %d, which has %d bytes: %v", a.header.Get("Content-Range"), version, it.sizeOf(version), err)
		}
		to++
	}
	if want := it.content(version, from, to); !bytes.Equal(a.body, want) {
		return version, fmt.Sprintf("%d bytes from %d on, want %d of version %d; they differ at %d", len(a.body), from, len(want), version, common(a.body, want))
	}
	switch vouched := s.vouchedFor(it, version); {
	case vouched.IsZero():
		return version, fmt.Sprintf("version %d, which never was", version)
	case a.asked.Sub(vouched) > it.life+clockSlack:
		return version, fmt.Sprintf("version %d, which the origin vouched for %v ago, for %v", version, a.asked.Sub(vouched), it.life)
	}
	return version, ""
}
