package cluster

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// group starts quiet nodes with the times of real life.
func group(b *testing.B, n int) (all []*peer) {
	b.Helper()
	quick := usual
	quick.propagate = 10 * time.Millisecond
	for i := range n {
		all = append(all, setup{name: fmt.Sprint("edge", i), join: all[:min(i, 1)], tuning: quick, quiet: true}.make(b).run())
	}
	meet(b, all...)
	return all
}

// BenchmarkTell is how long until all others have heard what is news, and what is one
// of many messages under a topic.
func BenchmarkTell(b *testing.B) {
	for _, n := range []int{5, 20} {
		all := group(b, n)
		f := func(what string, topic func(i int) string) {
			b.Run(fmt.Sprintf("%s/nodes=%d", what, n), func(b *testing.B) {
				i := 0
				var took []time.Duration
				for b.Loop() {
					i++
					took = append(took, convergence(all, all[i%n], topic(i), fmt.Sprint(what, i)))
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Milliseconds()), "ms-median")
				b.ReportMetric(float64(took[len(took)-1].Milliseconds()), "ms-worst")
			})
		}
		f("news", func(i int) string { return fmt.Sprint("news", i/n%20) })
		f("sample", func(int) string { return "sample" })
		for _, p := range all {
			p.end()
		}
	}
}

// convergence tells something and waits until all have heard.
func convergence(all []*peer, from *peer, topic, body string) time.Duration {
	began := time.Now()
	from.Tell(topic, []byte(body), time.Minute)
	for _, p := range all {
		for p != from && !strings.Contains(p.told(topic), from.self.Name+"="+body) {
			<-time.After(time.Millisecond)
		}
	}
	return time.Since(began)
}

// BenchmarkTraffic is what a node sends and receives, itself and as one of a group:
// idle, and with a gauge of so many bytes told each second by each.
func BenchmarkTraffic(b *testing.B) {
	const window = 10 * time.Second
	for _, size := range []int{0, 100, 1000} {
		b.Run(fmt.Sprintf("nodes=5/gauge=%d", size), func(b *testing.B) {
			all := group(b, 5)
			sum := func() (udp, tcp uint64) {
				for _, p := range all {
					udp += p.transport.udpOut.Load()
					tcp += p.transport.tcpOut.Load()
				}
				return udp, tcp
			}
			<-time.After(2 * time.Second) // joining is over
			for b.Loop() {
				udp, tcp := sum()
				for range window / time.Second {
					for _, p := range all {
						if size > 0 {
							p.Tell("gauge", make([]byte, size), 10*time.Second)
						}
					}
					<-time.After(time.Second)
				}
				udp2, tcp2 := sum()
				b.ReportMetric(float64(udp2-udp)/5/window.Seconds(), "udpB/s/node")
				b.ReportMetric(float64(tcp2-tcp)/5/window.Seconds(), "tcpB/s/node")
			}
			b.ReportMetric(0, "ns/op")
		})
	}
}
