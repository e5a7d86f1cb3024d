package passthrough

import (
	"bytes"
	"testing"
)

func TestReport(t *testing.T) {
	for _, want := range []Report{{}, {Sessions: 500, Rate: 4e9, Load: 1, Well: 1<<32 - 1}, {Sessions: 1, Load: 51. / 255}, {Draining: true}, {Well: 1, Uncounted: true}} {
		b := want.Append(nil)
		if got, err := ParseReport(b); err != nil || got != want {
			t.Errorf("%+v came back as %+v, %v", want, got, err)
		}
		if len(b) > 20 {
			t.Errorf("a report of %d bytes", len(b))
		}
		if _, err := ParseReport(append(b, 7, 7)); err != nil {
			t.Errorf("a report of a later version, with more behind: %v", err)
		}
		for n := range b {
			if _, err := ParseReport(b[:n]); err == nil {
				t.Errorf("%d bytes of %d were taken for a report", n, len(b))
			}
		}
	}
}

func FuzzReport(f *testing.F) {
	f.Add(Report{Sessions: 12, Rate: 1e9, Load: 0.5, Well: 3}.Append(nil))
	f.Add(Report{Draining: true, Uncounted: true}.Append(nil))
	f.Add([]byte{1, 0, 0xff, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := ParseReport(b)
		if err != nil {
			return
		}
		if again, err := ParseReport(r.Append(nil)); err != nil || again != r {
			t.Errorf("%x is %+v, and then %+v, %v", b, r, again, err)
		}
		if !bytes.Equal(r.Append(nil)[1:2], b[1:2]) {
			t.Errorf("load of %x changed", b)
		}
	})
}
