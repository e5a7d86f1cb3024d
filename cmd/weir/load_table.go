package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"text/tabwriter"
)

// print writes the report for people, or as one line of JSON.
func (r *loadReport) print(w io.Writer, asJSON bool) error {
	if asJSON {
		return json.NewEncoder(w).Encode(r)
	}
	t := &loadTable{tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)}
	stalled := ""
	if r.Stalled > 0 {
		stalled = fmt.Sprintf(", %d stalled on purpose", r.Stalled)
	}
	t.row("viewers", "%d asked for, %d opened, %d alive after %.1f s, %d failed%s", r.Viewers, r.Opened, r.Alive, r.Seconds, r.Failed, stalled)
	t.reasons(r.Reasons)
	half := ""
	if r.second {
		half = ", in the second half"
	}
	t.row("received", "%.1f MB; %.1f Mbit/s, a viewer %.2f (median), %.2f (least)%s",
		float64(r.Bytes)/1e6, r.MbitPerS, r.MbitMedian, r.MbitMin, half)
	if r.rtspLoadReport != nil {
		t.rtsp(r.rtspLoadReport)
	} else {
		t.http(r.httpLoadReport)
	}
	return t.Flush()
}

type loadTable struct{ *tabwriter.Writer }

// row is a name and a sentence, which columns below do not follow.
func (t *loadTable) row(name, format string, args ...any) {
	fmt.Fprintf(t, name+"\t"+format+"\n", args...) //nolint:errcheck // Flush tells
}

func (t *loadTable) rtsp(r *rtspLoadReport) {
	t.row("packets", "%d, %d lost, %d reordered", r.Packets, r.Lost, r.Reordered)
	t.heads()
	t.times("answer to PLAY", r.PlayMs)
	t.times("first packet", r.PacketMs)
	t.times("first key frame", r.KeyFrameMs)
}

func (t *loadTable) http(r *httpLoadReport) {
	t.row("requests", "%d, %d failed", r.Requests, r.Errors)
	t.reasons(r.ErrorReasons)
	if r.PlaylistMs != nil {
		t.row("segments", "%d, %d missed, %d too late to be played in time (%.1f s in all)", r.Segments, r.Missed, r.Stalls, r.StalledS)
	}
	t.heads()
	t.times("a request", r.RequestMs)
	t.times("first playlist", r.PlaylistMs)
	t.times("first byte", r.ByteMs)
	t.times("first segment", r.SegmentMs)
}

// reasons are told, the most frequent one first.
func (t *loadTable) reasons(r reasons) {
	told := slices.SortedFunc(maps.Keys(r), func(a, b string) int {
		return cmp.Or(cmp.Compare(r[b], r[a]), cmp.Compare(a, b))
	})
	for _, why := range told {
		t.row("", "%d × %s", r[why], printable(why))
	}
}

func (t *loadTable) heads() { fmt.Fprint(t, "\tp50\tp99\tmax\n") }

func (t *loadTable) times(name string, q *quantiles) {
	if q == nil {
		fmt.Fprintf(t, "%s\t-\t-\t-\n", name)
		return
	}
	fmt.Fprintf(t, "%s\t%.1f ms\t%.1f ms\t%.1f ms\n", name, q.P50, q.P99, q.Max)
}

// printable keeps what a server says from writing on the terminal as it likes.
func printable(s string) string {
	quoted := fmt.Sprintf("%+q", s)
	if quoted == `"`+s+`"` {
		return s
	}
	return quoted
}
