package cache

import (
	"bytes"
	"encoding/xml"
	"io"
	"regexp"
	"strconv"
	"time"

	"github.com/Eyevinn/dash-mpd/mpd"
	dashxml "github.com/Eyevinn/dash-mpd/xml"
)

// parseMPD reads an MPD; nil if it is none. Its segments are not expanded.
func parseMPD(body []byte) *manifest {
	if !bytes.Contains(body, []byte("<MPD")) && !bytes.Contains(body, []byte(":MPD")) {
		return nil
	}
	d := new(mpd.MPD)
	if err := dashxml.NewTokenDecoder(mpdTokens{newXML(body)}).Decode(d); err != nil {
		return parseMPDRoot(body)
	}
	m := &manifest{Class: storedMPD, Last: -1}
	if d.GetType() == mpd.DYNAMIC_TYPE {
		m.Class = liveMPD
	}
	m.Update = mpdDuration(d.MinimumUpdatePeriod)
	if m.Target = mpdDuration(d.MaxSegmentDuration); m.Target == 0 {
		m.Target = longestSegment(d)
	}
	return m
}

// newXML returns a decoder that lets mistakes pass which players let pass. What is
// of interest in an MPD is ASCII, whatever it is encoded in.
func newXML(body []byte) *xml.Decoder {
	d := xml.NewDecoder(bytes.NewReader(body))
	d.Strict = false
	d.CharsetReader = func(_ string, r io.Reader) (io.Reader, error) { return r, nil }
	return d
}

// mpdTokens reads the elements of an MPD for the library with encoding/xml. The
// library's own copy of it (v0.14.0) never comes to an end where a text has a ">".
type mpdTokens struct{ *xml.Decoder }

// Token implements dashxml.TokenReader.
func (d mpdTokens) Token() (dashxml.Token, error) {
	for {
		token, err := d.RawToken()
		if err != nil {
			return nil, err
		}
		switch e := token.(type) {
		case xml.StartElement:
			start := dashxml.StartElement{Name: dashxml.Name(e.Name)}
			for _, a := range e.Attr {
				start.Attr = append(start.Attr, dashxml.Attr{Name: dashxml.Name(a.Name), Value: a.Value})
			}
			return start, nil
		case xml.EndElement:
			return dashxml.EndElement{Name: dashxml.Name(e.Name)}, nil
		}
	}
}

// mpdDuration is a duration of an MPD within reason; 0 if it is not there.
func mpdDuration(d *mpd.Duration) time.Duration {
	if d == nil {
		return 0
	}
	return min(max(time.Duration(*d), 0), maxTarget)
}

// longestSegment returns the duration of the longest segment that any
// SegmentTemplate of an MPD tells of.
func longestSegment(d *mpd.MPD) time.Duration {
	var longest time.Duration
	for _, p := range d.Periods {
		longest = max(longest, templateSegment(p.SegmentTemplate))
		for _, a := range p.AdaptationSets {
			longest = max(longest, templateSegment(a.SegmentTemplate))
			for _, r := range a.Representations {
				longest = max(longest, templateSegment(r.SegmentTemplate))
			}
		}
	}
	return longest
}

// templateSegment is longestSegment for one template.
func templateSegment(t *mpd.SegmentTemplateType) time.Duration {
	if t == nil {
		return 0
	}
	var ticks uint64
	if t.Duration != nil {
		ticks = uint64(*t.Duration)
	}
	if t.SegmentTimeline != nil {
		for _, s := range t.SegmentTimeline.S {
			ticks = max(ticks, s.D)
		}
	}
	seconds := float64(ticks) / max(float64(t.GetTimescale()), 1)
	return time.Duration(min(seconds, maxTarget.Seconds()) * float64(time.Second))
}

// parseMPDRoot reads the attributes of the root of an MPD that the library
// refuses for something further inside, or for a duration with years in it.
func parseMPDRoot(body []byte) *manifest {
	d := newXML(body)
	for {
		token, err := d.RawToken()
		if err != nil {
			return nil
		}
		root, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if root.Name.Local != "MPD" {
			return nil
		}
		return mpdOfRoot(root.Attr)
	}
}

func mpdOfRoot(attrs []xml.Attr) *manifest {
	m := &manifest{Class: storedMPD, Last: -1}
	for _, a := range attrs {
		switch a.Name.Local {
		case "type":
			if a.Value == mpd.DYNAMIC_TYPE {
				m.Class = liveMPD
			}
		case "minimumUpdatePeriod":
			m.Update = xsDuration(a.Value)
		case "maxSegmentDuration":
			m.Target = xsDuration(a.Value)
		}
	}
	return m
}

// xsDurations matches xs:duration up to days: what is longer is beyond reason,
// but may be there as zero.
var xsDurations = regexp.MustCompile(`^P(?:\d+Y)?(?:\d+M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:([\d.]+)S)?)?$`)

// xsDuration reads an xs:duration within reason; 0 if it is none.
func xsDuration(s string) time.Duration {
	found := xsDurations.FindStringSubmatch(s)
	if found == nil {
		return 0
	}
	seconds := 0.0
	for i, unit := range []float64{24 * 3600, 3600, 60, 1} {
		n, _ := strconv.ParseFloat(found[i+1], 64) // "" is 0
		seconds += n * unit
	}
	return time.Duration(min(seconds, maxTarget.Seconds()) * float64(time.Second))
}
