package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"weir/proxy/proxytest"
)

const (
	splitViewers  = 150
	splitArrivals = 300 // viewers who come 5 ms after one another
	splitRounds   = 3
	splitFor      = 6 * time.Second // of a round, measured
)

// BenchmarkSplit measures what it costs to split a stream of 4 Mbit/s (see source):
// the CPU time of the edge's process alone for each packet delivered to 150 viewers.
// A bare writer, which sends bursts of as many bytes to as many sockets and knows
// nothing of RTSP, has its turn in the same run, round by round, since machines are
// noisy; the medians are reported. Before that 300 viewers arrive, 5 ms apart: how the
// edge grows by each, and when each has its first key frame.
func BenchmarkSplit(b *testing.B) {
	source := startHelper(b, "source")
	addr := source.line(b)
	binary := buildWeir(b)
	for _, transport := range []string{"tcp", "udp"} {
		b.Run("transport="+transport, func(b *testing.B) { splitBy(b, binary, addr, transport) })
	}
}

func splitBy(b *testing.B, binary, source, transport string) {
	e := &splitEdge{binary: binary, transport: transport, door: proxytest.ClosedAddr(b)}
	rtsp := proxytest.ClosedAddr(b)
	e.relay = startRelay(b, "weir", rtsp, exec.Command(binary, "-mode", "splitter", "-origin", "rtsp://"+source, "-rtsp", rtsp, "-http", "",
		"-admin", e.door, "-splitter.udp", "127.0.0.1:0", "-log.level", "warn"))
	sinks := startHelper(b, "sinks")
	to := map[string]string{"tcp": sinks.line(b), "udp": sinks.line(b)}[transport]
	e.load(b, 5, 4*time.Second, func() {}) // a first viewer is not like the others
	before := e.resident(b)
	var after int
	arrived := e.load(b, splitArrivals, 8*time.Second, func() { after = e.resident(b) })
	var bare []float64
	for b.Loop() {
		for range splitRounds {
			e.round(b)
			bare = append(bare, bareRound(b, transport, to))
		}
	}
	b.ReportMetric(0, "ns/op") // it is the length of the rounds, and nobody's speed
	b.ReportMetric(median(e.relay.costs), "µs/packet")
	b.ReportMetric(median(bare), "bare-µs/packet")
	b.ReportMetric(median(e.relay.costs)/median(bare), "weir/bare")
	b.ReportMetric(float64(after-before)/splitArrivals, "KB/viewer")
	b.ReportMetric(arrived.FirstKeyFrame.P99, "ms-key-frame-p99")
}

// A splitEdge is the edge that is measured.
type splitEdge struct {
	relay                   *relay
	binary, transport, door string
}

// splitSeen is what `weir load` says.
type splitSeen struct {
	Viewers, Alive       int
	Packets, Bytes, Lost int64
	FirstKeyFrame        struct{ P99 float64 } `json:"first_key_frame_ms"`
}

// load has viewers play for a while, and calls halfway when most of that is over.
func (e *splitEdge) load(b *testing.B, viewers int, length time.Duration, halfway func()) (seen splitSeen) {
	cmd := exec.Command(e.binary, "load", "-url", "rtsp://"+e.relay.addr+"/live", "-viewers", strconv.Itoa(viewers),
		"-every", "5ms", "-transport", e.transport, "-for", length.String(), "-json")
	cmd.Stderr = os.Stderr
	late := time.AfterFunc(length*3/4, halfway)
	defer late.Stop()
	out, err := cmd.Output()
	if err != nil {
		b.Fatalf("weir load: %v\n%s", err, out)
	}
	if err := json.Unmarshal(out, &seen); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	if seen.Alive != viewers || e.transport == "tcp" && seen.Lost > 0 {
		b.Fatalf("%d of %d viewers alive, %d packets lost: too much for this machine", seen.Alive, viewers, seen.Lost)
	}
	return seen
}

// round measures while viewers play.
func (e *splitEdge) round(b *testing.B) {
	const warmUp = 4 * time.Second
	var cpu time.Duration
	var sent float64
	begun := make(chan struct{})
	go func() {
		defer close(begun)
		<-time.After(warmUp)
		before, bytes := cpuTime(b, e.relay.pid), e.sent(b)
		<-time.After(splitFor)
		cpu, sent = cpuTime(b, e.relay.pid)-before, e.sent(b)-bytes
	}()
	seen := e.load(b, splitViewers, warmUp+splitFor+2*time.Second, func() {})
	<-begun
	packets := sent / (float64(seen.Bytes) / float64(seen.Packets))
	cost := float64(cpu.Microseconds()) / packets
	b.Logf("weir: %.2f µs per packet, %.0f packets/s, %d lost, %.1f %% of a core", cost, packets/splitFor.Seconds(), seen.Lost, 100*cpu.Seconds()/splitFor.Seconds())
	e.relay.costs = append(e.relay.costs, cost)
}

// sent is how many bytes of media the edge has sent so far.
func (e *splitEdge) sent(b *testing.B) float64 {
	res, err := http.Get("http://" + e.door + "/metrics")
	if err != nil {
		b.Error(err)
		return 0
	}
	defer res.Body.Close()
	for lines := bufio.NewScanner(res.Body); lines.Scan(); {
		if v, ok := strings.CutPrefix(lines.Text(), "weir_splitter_sent_bytes_total "); ok {
			n, _ := strconv.ParseFloat(v, 64)
			return n
		}
	}
	b.Error("no weir_splitter_sent_bytes_total")
	return 0
}

// resident is the edge's resident memory, in KB (proc(5): VmRSS).
func (e *splitEdge) resident(b *testing.B) int {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", e.relay.pid))
	if err != nil {
		b.Error(err)
		return 0
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	n, _ := strconv.Atoi(strings.Fields(rest)[0])
	return n
}

// bareRound measures the bare writer.
func bareRound(b *testing.B, transport, to string) float64 {
	h := startHelper(b, "bare", "BARE_TRANSPORT="+transport, "BARE_TO="+to)
	defer h.end(b)
	h.line(b)
	<-time.After(time.Second)
	before := cpuTime(b, h.pid)
	<-time.After(splitFor)
	cost := float64((cpuTime(b, h.pid) - before).Microseconds()) / (splitFor.Seconds() / bareEvery.Seconds() * bareBurst * splitViewers)
	b.Logf("bare writer: %.2f µs per packet", cost)
	return cost
}
