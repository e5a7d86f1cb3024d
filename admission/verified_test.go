package admission

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestVerifiedLife(t *testing.T) {
	f := func(until time.Time, age time.Duration, want bool) {
		t.Helper()
		table, id, g := newVerified(), hashed(kindToken, "x"), &grant{until: until}
		_, epoch := table.get(id, signedAt)
		table.add(id, g, signedAt, epoch)
		got, _ := table.get(id, signedAt.Add(age))
		if (got == g) != want || got == nil && table.len() != 0 {
			t.Errorf("good until %v, after %v: %v and %d left, want %v", until, age, got, table.len(), want)
		}
	}
	f(time.Time{}, 0, true)
	f(time.Time{}, 5*time.Minute-1, true)
	f(time.Time{}, 5*time.Minute, false)
	f(signedAt.Add(time.Minute), time.Minute-1, true)
	f(signedAt.Add(time.Minute), time.Minute, false)
	f(signedAt.Add(time.Hour), 5*time.Minute, false)
}

func TestVerifiedKinds(t *testing.T) {
	if hashed(kindToken, "x") == hashed(kindCertificate, "x") || hashed(kindToken, "x") == hashed(kindToken, "x\x00") {
		t.Error("different credentials are one")
	}
	long := strings.Repeat("x", maxToken)
	if hashed(kindToken, long) == hashed(kindToken, long[1:]+"y") {
		t.Error("a token of 4 KiB is not hashed to its end")
	}
}

func TestVerifiedBound(t *testing.T) {
	table := newVerified()
	for i := range 2 * maxVerified {
		table.add(hashed(kindToken, fmt.Sprint(i)), &grant{}, signedAt, 0)
	}
	if table.len() != maxVerified {
		t.Errorf("%d remembered, want %d", table.len(), maxVerified)
	}
	if g, _ := table.get(hashed(kindToken, fmt.Sprint(2*maxVerified-1)), signedAt); g == nil {
		t.Error("the last one is not remembered")
	}
}

// TestVerifiedClear: what was being verified while the table was emptied is not
// remembered, for the key may be one that has gone.
func TestVerifiedClear(t *testing.T) {
	table, id := newVerified(), hashed(kindToken, "x")
	_, epoch := table.get(id, signedAt)
	table.clear()
	table.add(id, &grant{}, signedAt, epoch)
	if table.len() != 0 {
		t.Error("remembered what was verified before")
	}
	_, epoch = table.get(id, signedAt)
	table.add(id, &grant{}, signedAt, epoch)
	if table.len() != 1 {
		t.Error("not remembered what was verified since")
	}
}

func TestVerifiedAtOnce(t *testing.T) {
	table := newVerified()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 500 {
				id := hashed(kindToken, fmt.Sprint(i))
				g, epoch := table.get(id, signedAt)
				if g == nil {
					table.add(id, &grant{max: i}, signedAt, epoch)
				} else if g.max != i {
					t.Errorf("%d is %d", i, g.max)
				}
				if i == 250 && w == 0 {
					table.clear()
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkVerifiedGet(b *testing.B) {
	table, token := newVerified(), signedToken(b, Claim{Path: "/vod/film"})
	table.add(hashed(kindToken, token), &grant{}, signedAt, 0)
	b.ReportAllocs()
	for b.Loop() {
		if g, _ := table.get(hashed(kindToken, token), signedAt); g == nil {
			b.Fatal("not known")
		}
	}
}
