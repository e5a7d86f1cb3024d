package admission

import (
	"fmt"
	"testing"

	"weir/proxy"
)

// BenchmarkKnown is what each request for a segment costs a viewer who is in.
func BenchmarkKnown(b *testing.B) {
	g := gateOf(b, "-admission.viewers=1000", "-admission.per-client=10", "-admission.bandwidth=10Gbit/s", "-admission.rate=100000")
	v := viewer("http", "/cam/1.ts", 1)
	b.ReportAllocs()
	for b.Loop() {
		ticket, err := g.admit(v)
		if err != nil {
			b.Fatal(err)
		}
		ticket.Sent(1000)
		ticket.Close()
	}
}

// BenchmarkAdmit is a viewer over RTSP who comes and goes, with all limits on and
// 10 000 others there.
func BenchmarkAdmit(b *testing.B) {
	g := gateOf(b, "-admission.viewers=100000", "-admission.per-client=100", "-admission.per-stream=100000", "-admission.per-subject=100",
		"-admission.bandwidth=1Tbit/s", "-admission.rate=10000000", "-admission.client-rate=10000000", "-admission.class=gold=100,bronze=70")
	var all []*proxy.Viewer
	for n := range 20000 {
		v := viewer("rtsp", fmt.Sprintf("/cam%d", n%100), n)
		v.Subject = fmt.Sprint("subject", n)
		all = append(all, v)
	}
	for _, v := range all[:10000] {
		if _, err := g.admit(v); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	n := 10000
	for b.Loop() {
		if n++; n == len(all) {
			n = 10000
		}
		ticket, err := g.admit(all[n])
		if err != nil {
			b.Fatal(err)
		}
		if err := ticket.Declare(4 * mbit); err != nil {
			b.Fatal(err)
		}
		ticket.Close()
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "admits/s")
}
