package admission

import (
	"testing"
)

// TestCheckKnownAllocates nothing.
func TestCheckKnownAllocates(t *testing.T) {
	c := withKeys(t)
	query := "token=" + signedToken(t, Claim{Path: "/vod/film", Class: "gold"})
	v := askingFor("/vod/film/1.ts", query)
	ctx := t.Context()
	if got := testing.AllocsPerRun(100, func() {
		v.Query = query
		if err := c.check(ctx, &v, signedAt); err != nil {
			t.Error(err)
		}
	}); got != 0 {
		t.Errorf("%v allocations", got)
	}
}

func BenchmarkCheckSigned(b *testing.B) {
	c := withKeys(b)
	queries := make([]string, 2*maxVerified) // each is forgotten before it comes again
	for i := range queries {
		queries[i] = "token=" + signedToken(b, Claim{Path: "/vod/film", Class: "gold", Max: i})
	}
	v, ctx, i := askingFor("/vod/film/1.ts", ""), b.Context(), 0
	b.ReportAllocs()
	for b.Loop() {
		v.Query = queries[i%len(queries)]
		i++
		if err := c.check(ctx, &v, signedAt); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkCheckKnown(b *testing.B) {
	c := withKeys(b)
	query := "token=" + signedToken(b, Claim{Path: "/vod/film", Class: "gold"})
	v, ctx := askingFor("/vod/film/1.ts", query), b.Context()
	b.ReportAllocs()
	for b.Loop() {
		v.Query = query
		if err := c.check(ctx, &v, signedAt); err != nil {
			b.Fatal(err)
		}
	}
}
