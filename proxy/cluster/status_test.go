package cluster

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

func TestStatusAndMetrics(t *testing.T) {
	reg := prometheus.NewPedanticRegistry()
	a := setup{name: "a", registry: reg}.make(t).run()
	b := setup{name: "b", join: []*peer{a}, identity: Identity{Role: Origin, Weight: 2, Capacity: 500, Paths: []string{"/vod/"}}}.make(t).run()
	meet(t, a, b)
	b.Tell("t", []byte("x"), time.Minute)
	hears(t, a, "t", "b=x")
	text, err := json.Marshal(a.Status())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"name":"b"`, `"role":"origin"`, `"capacity":500`, `"weight":2`, `"state":"alive"`, `"/vod/"`, `"rejected_total"`, `"health_score":`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the status has no %s: %s", want, text)
		}
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			name := f.GetName()
			for _, l := range m.GetLabel() {
				name += " " + l.GetValue()
			}
			got[name] = m.GetGauge().GetValue() + m.GetCounter().GetValue()
		}
	}
	f := func(name string, least, most float64) {
		t.Helper()
		if v, ok := got[name]; !ok || v < least || v > most {
			t.Errorf("%s = %v, %v, want %v to %v", name, v, ok, least, most)
		}
	}
	f("weir_cluster_nodes edge alive", 1, 1)
	f("weir_cluster_nodes origin alive", 1, 1)
	f("weir_cluster_nodes edge left", 0, 0)
	f("weir_cluster_records", 1, 3)
	f("weir_cluster_records_bytes", 40, 500)
	f("weir_cluster_rejected_total own", 0, 0)
	f("weir_cluster_sent_bytes_total tcp", 1, 1e6)
	f("weir_cluster_sent_bytes_total udp", 0, 1e6)
	f("weir_cluster_received_bytes_total tcp", 1, 1e6)
	if most := 9 + 4 + len(reasons) + 4; len(got) != most {
		t.Errorf("%d metrics, want %d", len(got), most)
	}
}
