package sdp

import (
	"maps"
	"slices"
	"strings"
)

// Same reports whether viewers of one description can go on with the other: the same
// tracks in the same order, with the same codecs, clocks and layouts. Payload types may
// have other numbers (Translate). Parameter sets, and what else says how pictures are
// made, may differ, for they can be repeated in band; not if strict.
func Same(a, b *Session, strict bool) bool {
	return slices.EqualFunc(a.Media, b.Media, func(x, y Media) bool {
		return x.Type == y.Type && x.BackChannel == y.BackChannel && x.Encrypted() == y.Encrypted() && x.alike(&y.Format) &&
			maps.Equal(parameters(x.Fmtp, layout), parameters(y.Fmtp, layout)) &&
			(!strict || maps.Equal(parameters(x.Fmtp, nil), parameters(y.Fmtp, nil)))
	})
}

// alike reports whether two payload types are of the same codec and clock.
func (f *Format) alike(o *Format) bool {
	channels := func(f *Format) string {
		if f.Channels == "" {
			return "1"
		}
		return f.Channels
	}
	return strings.EqualFold(f.Encoding, o.Encoding) && f.ClockRate == o.ClockRate && channels(f) == channels(o)
}

// layout is the parameters that change how payloads are read.
var layout = []string{"packetization-mode", "mode", "config", "sizelength", "indexlength", "indexdeltalength"}

// parameters are those of a fmtp, by their names in lower case; all, or only some.
func parameters(fmtp string, only []string) map[string]string {
	all := map[string]string{}
	for p := range strings.SplitSeq(fmtp, ";") {
		name, v, _ := strings.Cut(strings.TrimSpace(p), "=")
		name = strings.ToLower(name)
		if slices.Contains(layout, name) {
			v = strings.ToLower(v)
		}
		if name != "" && (only == nil || slices.Contains(only, name)) {
			all[name] = v
		}
	}
	return all
}

// Types are the payload types of a track as another description numbers them.
type Types [128]uint8

// untold stands for a payload type that the other description does not have.
const untold = 0xff

// Of returns the number of a payload type (0 to 127) in the other description; false if
// it has none, and its readers know nothing of such packets.
func (t *Types) Of(payloadType uint8) (uint8, bool) {
	n := t[payloadType&0x7f]
	return n, n != untold
}

// Translate returns how readers who were told of a track are to have the payload types
// of what has; nil: as they are. The two are the same by Same.
func Translate(told, has *Media) *Types {
	t, alike := &Types{}, true
	for i := range t {
		t[i] = uint8(i) // what no description names is nothing that it could speak of
	}
	left := told.formats()
	for _, f := range has.formats() {
		t[f.PayloadType] = untold
		if i := slices.IndexFunc(left, func(o Format) bool { return f.alike(&o) }); i >= 0 {
			t[f.PayloadType] = uint8(left[i].PayloadType)
			left = slices.Delete(left, i, i+1)
		}
		alike = alike && int(t[f.PayloadType]) == f.PayloadType
	}
	if alike {
		return nil
	}
	return t
}

// formats are all payload types.
func (m *Media) formats() []Format { return append([]Format{m.Format}, m.others...) }
