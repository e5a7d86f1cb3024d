package cluster

import (
	"bytes"
	"encoding/binary"
	"reflect"
	"strings"
	"testing"
	"time"
)

func sample() record {
	return record{kind: kindTold, urgent: true, id: newID("a"), epoch: 7, seq: 9, ttl: 90 * time.Second, topic: "cache.purge.0", body: []byte("/a.ts")}
}

func TestRecordWire(t *testing.T) {
	f := func(r record) {
		t.Helper()
		b := r.append(nil)
		got, why := decodeRecord(b)
		if why != taken || !reflect.DeepEqual(got, r) {
			t.Errorf("decodeRecord(%+v.append) = %+v, %q", r, got, why)
		}
		if len(b) != r.size() || len(b) > maxRecord {
			t.Errorf("%d bytes, size says %d, at most %d", len(b), r.size(), maxRecord)
		}
	}
	f(sample())
	longest := sample()
	longest.topic, longest.body, longest.ttl = strings.Repeat("t", maxTopic), bytes.Repeat([]byte{0xff}, maxBody), maxTTL
	f(longest)
	f(record{kind: kindState, id: newID("b"), ttl: time.Millisecond, body: []byte{}})
}

func TestRecordRefused(t *testing.T) {
	f := func(what string, want reason, change func(b []byte) []byte) {
		t.Helper()
		r := sample()
		if _, why := decodeRecord(change(r.append(nil))); why != want {
			t.Errorf("%s: %q, want %q", what, why, want)
		}
	}
	set := func(at int, v byte) func([]byte) []byte {
		return func(b []byte) []byte { b[at] = v; return b }
	}
	f("nothing", malformed, func([]byte) []byte { return nil })
	f("another version", version, set(0, 2))
	f("an unknown kind", malformed, set(1, 3))
	f("a topic where there is none", malformed, set(1, kindState))
	f("unknown flags", malformed, set(2, 2))
	f("over", expired, func(b []byte) []byte { binary.BigEndian.PutUint32(b[ttlAt:], 0); return b })
	f("for ever", malformed, func(b []byte) []byte { binary.BigEndian.PutUint32(b[ttlAt:], 1<<31); return b })
	f("an epoch beyond all clocks", malformed, set(20, 1))
	f("no topic", malformed, set(recordHead, 0))
	f("a long topic", malformed, set(recordHead, 200))
	f("a topic of control characters", malformed, set(recordHead+1, '\n'))
	f("a byte too many", malformed, func(b []byte) []byte { return append(b, 0) })
	f("far too long", oversize, func(b []byte) []byte { return append(b, make([]byte, maxRecord)...) })
	for n := range len(sample().body) + 1 {
		f("truncated", malformed, func(b []byte) []byte { return b[:len(b)-1-n] })
	}
	r := sample()
	for n := range r.size() {
		if _, why := decodeRecord(r.append(nil)[:n]); why == taken {
			t.Errorf("the first %d bytes are taken", n)
		}
	}
}

// What is decoded is written again as it was, and nothing panics.
func FuzzRecord(f *testing.F) {
	r := sample()
	f.Add(r.append(nil))
	r = record{kind: kindState, id: newID("b"), ttl: stateTTL, body: []byte{0, 0, 0, 0, 0, 0, 0, 1, 1}}
	f.Add(r.append(nil))
	f.Add([]byte{recordVersion})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, why := decodeRecord(b)
		if why != taken {
			return
		}
		if got := r.append(nil); !bytes.Equal(got, b) {
			t.Errorf("decoded %x, written %x", b, got)
		}
		if r.ttl <= 0 || r.ttl > maxTTL || len(r.body) > maxBody || len(r.topic) > maxTopic {
			t.Errorf("taken: %+v", r)
		}
	})
}
