package passthrough

import (
	"cmp"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"weir/proxy/wire"
)

// A stretch is a Range of RTSP (RFC 2326 §12.29) from a position on.
type stretch struct {
	clock bool          // in the time of day, else in normal play time
	at    time.Duration // since the begin, or since 1970
	end   string        // as it was written; "" if it is open
}

// clockForms are the time of day (RFC 2326 §3.7); fractions may be there or not.
const clockForm = "20060102T150405Z"

// parseStretch reads "npt=2.5-7" or "clock=20261108T143720.25Z-". ok is false where
// the position is not said: "npt=now-", "npt=-5", other units.
func parseStretch(value string) (s stretch, ok bool) {
	value, _, _ = strings.Cut(value, ";") // ;time=…
	unit, rest, found := strings.Cut(strings.TrimSpace(value), "=")
	from, end, dash := strings.Cut(rest, "-")
	if !found || !dash || len(value) > 200 {
		return stretch{}, false
	}
	s.end = strings.TrimSpace(end)
	switch strings.ToLower(strings.TrimSpace(unit)) {
	case "npt":
		s.at, ok = parseNPT(strings.TrimSpace(from))
	case "clock":
		t, err := time.Parse(clockForm, strings.TrimSpace(from))
		s.clock, s.at, ok = true, time.Duration(t.UnixNano()), err == nil && t.Year() > 1900 && t.Year() < 2200
	}
	if !ok || strings.ContainsFunc(s.end, func(r rune) bool { return r <= ' ' || r > '~' || r == ',' }) {
		return stretch{}, false
	}
	return s, true
}

// parseNPT reads "12.5" and "1:02:03.5" (RFC 2326 §3.6).
func parseNPT(s string) (time.Duration, bool) {
	total := 0.0
	parts := strings.Split(s, ":")
	if len(parts) != 1 && len(parts) != 3 {
		return 0, false
	}
	for i, p := range parts {
		n, err := strconv.ParseFloat(p, 64)
		if err != nil || strings.Trim(p, "0123456789.") != "" || i > 0 && n >= 60 {
			return 0, false
		}
		total = total*60 + n
	}
	if total > 1e8 { // three years
		return 0, false
	}
	return time.Duration(math.Round(total * float64(time.Second))), true
}

// String writes it as the value of a Range.
func (s stretch) String() string {
	if s.clock {
		return "clock=" + time.Unix(0, int64(s.at)).UTC().Format("20060102T150405.000Z") + "-" + s.end
	}
	return fmt.Sprintf("npt=%.3f-%s", s.at.Seconds(), s.end)
}

// over reports whether at is at the end, or nearly.
func (s stretch) over(at time.Duration) bool {
	end, ok := parseStretch(s.unit() + "=" + s.end + "-")
	return ok && at >= end.at-nearEnd
}

// nearEnd is how far before its end a stream counts as ended: the last pictures
// are not worth another origin, and positions are known to within some.
const nearEnd = time.Second

func (s stretch) unit() string {
	if s.clock {
		return "clock"
	}
	return "npt"
}

// fromNow reports whether a Range is a live viewer's: from now on, or from a
// beginning that there is not.
func fromNow(value string) bool {
	if value == "" {
		return true
	}
	unit, from, _ := strings.Cut(strings.TrimSpace(value), "=")
	from, end, ok := strings.Cut(from, "-")
	if !ok || !strings.EqualFold(unit, "npt") || strings.TrimSpace(end) != "" {
		return false
	}
	from = strings.TrimSpace(from)
	at, num := parseNPT(from)
	return from == "now" || from == "" || num && at == 0
}

// A tape is where a session's viewer is in a stream that has positions. It belongs
// to the goroutine of the leg.
type tape struct {
	known  bool
	from   stretch // what the tracks' ticks are counted from
	queued bool    // a PLAY may wait behind another
	odd    bool    // at a speed that nobody can read
	scale  float64 // of the stream's time to the clock's (RFC 2326 §12.34); 0: 1
}

// played notes an answer to PLAY. Of what it does not say the request counts, and
// then where the viewer was.
func (p *tape) played(req *wire.Request, res *wire.Response, at stretch, playing bool) {
	asked, asks := parseStretch(req.Header.Get("Range"))
	said, says := parseStretch(res.Header.Get("Range"))
	p.queued = playing && req.Header.Get("Range") != ""
	p.scale, p.odd = parseScale(cmp.Or(res.Header.Get("Scale"), req.Header.Get("Scale")))
	switch {
	case says:
		if said.end == "" && asks && asked.clock == said.clock {
			said.end = asked.end
		}
		p.from = said
	case asks:
		p.from = asked
	case p.known:
		p.from = at
	}
	p.known = true
}

// ends notes where the stream does, by its description, if no answer has said so.
func (p *tape) ends(length string) {
	if all, ok := parseStretch(length); ok && p.from.end == "" && p.from.clock == all.clock {
		p.from.end = all.end
	}
}

// parseScale reads a Scale, which is 1 if it is not said. A negative one plays
// backwards.
func parseScale(v string) (scale float64, odd bool) {
	if v = strings.TrimSpace(v); v == "" {
		return 1, false
	}
	scale, err := strconv.ParseFloat(v, 64)
	return scale, err != nil || scale == 0 || !(math.Abs(scale) <= 256)
}

// on is where the viewer is when so much has been played since from.
func (p *tape) on(played time.Duration) stretch {
	at, scale := p.from, cmp.Or(p.scale, 1)
	at.at = max(0, at.at+time.Duration(float64(played)*scale))
	return at
}

// over reports whether the viewer is at the end, or nearly; backwards it is the
// beginning.
func (p *tape) over(at time.Duration) bool {
	if p.scale < 0 {
		return !p.from.clock && at <= nearEnd
	}
	return p.from.over(at)
}
