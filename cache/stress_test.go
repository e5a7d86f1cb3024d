package cache

import (
	"context"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A library is an origin whose files change: what a file is follows from its
// number and version, and its ETag says which.
type library struct {
	versions [40]atomic.Int64
	asked    atomic.Int64
}

func (l *library) size(n int) int {
	return int(crc32.ChecksumIEEE([]byte(strconv.Itoa(n)))) % []int{1, 3000, 100_000, 700_000, 1_500_000}[n%5]
}

// book is the content of a file.
func (l *library) book(n int, version int64) string {
	line := fmt.Sprintf("file %d, version %d; ", n, version)
	return strings.Repeat(line, l.size(n)/len(line)+1)[:l.size(n)]
}

func (l *library) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	l.asked.Add(1)
	var n int
	if _, err := fmt.Sscanf(req.URL.Path, "/%d.mp4", &n); err != nil || n >= len(l.versions) {
		http.NotFound(w, req)
		return
	}
	version := l.versions[n].Load()
	w.Header().Set("Etag", fmt.Sprintf(`"%d"`, version))
	w.Header().Set("Cache-Control", []string{"max-age=60", "max-age=0", "no-store", "max-age=1, stale-while-revalidate=5"}[n%4])
	if n%7 == 3 {
		w.Header().Set("Vary", "Accept-Language")
	}
	body := l.book(n, version)
	switch {
	case n%6 == 5 && req.Header.Get("If-None-Match") == "": // chunked, without ranges
		for len(body) > 0 {
			k := min(len(body), 50_000)
			io.WriteString(w, body[:k])
			http.NewResponseController(w).Flush()
			body = body[k:]
		}
	case rand.IntN(30) == 0 && len(body) > 10_000: // it breaks off
		w.Header().Set("Content-Length", strconv.Itoa(len(body)))
		io.WriteString(w, body[:len(body)/2])
		panic(http.ErrAbortHandler)
	default:
		http.ServeContent(w, req, "a.mp4", time.Time{}, strings.NewReader(body))
	}
}

// Whatever is asked for at once, in less memory than there are bytes, while files
// change, are purged and break off: each answer is of one version, whole or
// visibly broken, and of no version that was over before it was asked for, but
// for as long as that had been allowed.
func TestStress(t *testing.T) {
	f := func(name string, change func(*Options)) {
		t.Run(name, func(t *testing.T) {
			l := &library{}
			r := newRig(t, l.ServeHTTP, change, func(o *Options) { o.Memory, o.Slice = 5<<20, 128<<10 })
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			var wg sync.WaitGroup
			var right, broken atomic.Int64
			for range 12 {
				wg.Go(func() {
					for ctx.Err() == nil {
						r.visitLibrary(l, &right, &broken)
					}
				})
			}
			wg.Go(func() {
				for ctx.Err() == nil {
					n := rand.IntN(len(l.versions))
					l.versions[n].Add(1)
					r.purge(purge{URL: fmt.Sprintf("/%d.mp4", rand.IntN(len(l.versions))), Soft: rand.IntN(2) == 0})
					time.Sleep(5 * time.Millisecond) // a pace, nothing that is waited for
				}
			})
			wg.Wait()
			t.Logf("%d answers right, %d broken, %d requests at the origin", right.Load(), broken.Load(), l.asked.Load())
			if right.Load() < 50 || broken.Load() > right.Load()/3 {
				t.Errorf("%d answers right, %d broken", right.Load(), broken.Load())
			}
		})
	}
	f("ram", func(*Options) {})
	f("disk", func(o *Options) { o.Dir, o.Disk = t.TempDir(), 16<<20 })
	f("lru", func(o *Options) { o.Policy = "lru" })
}

// visitLibrary asks for something and checks what comes.
func (r *rig) visitLibrary(l *library, right, broken *atomic.Int64) {
	n := rand.IntN(len(l.versions))
	n = rand.IntN(n + 1) // some are asked for more
	size := l.size(n)
	var fields []string
	from, to := 0, size
	method := "GET"
	switch rand.IntN(5) {
	case 0:
		if size > 0 {
			from = rand.IntN(size)
			to = from + 1 + rand.IntN(size-from)
			fields = []string{"Range", fmt.Sprintf("bytes=%d-%d", from, to-1)}
		}
	case 1:
		method = "HEAD"
	case 2:
		fields = []string{"Accept-Language", []string{"de", "fr"}[rand.IntN(2)]}
	}
	got := r.try(method, fmt.Sprintf("/%d.mp4", n), fields...)
	version, err := strconv.ParseInt(strings.Trim(got.Header.Get("Etag"), `"`), 10, 64)
	if got.err != nil || got.StatusCode >= 500 {
		broken.Add(1)
		return
	}
	if err != nil {
		r.t.Errorf("%s /%d.mp4 %v: %d without an ETag", method, n, fields, got.StatusCode)
		return
	}
	want := l.book(n, version)
	if got.StatusCode == http.StatusPartialContent {
		want = want[from:to]
	}
	if method == "HEAD" {
		want = ""
	}
	if got.StatusCode != 200 && got.StatusCode != 206 || got.body != want {
		r.t.Errorf("%s /%d.mp4 %v: %d, %d bytes, %.40q…, want %d of version %d, %.40q (%s)", method, n, fields, got.StatusCode, len(got.body), got.body,
			len(want), version, want, got.Header["Cache-Status"])
	}
	right.Add(1)
}
