package cache

import (
	"net/http"
	"strings"
	"time"
)

// guessLimit is the longest lifetime that is guessed.
const guessLimit = 24 * time.Hour

// lifetime is the freshness lifetime of an answer (RFC 9111 §4.2.1), and whether
// the origin has said it.
func lifetime(p *policy, status int, h http.Header, answered time.Time) (life time.Duration, explicit bool) {
	switch {
	case p.unclear:
		return 0, true
	case p.sMaxAge >= 0:
		return p.sMaxAge, true
	case p.maxAge >= 0:
		return p.maxAge, true
	case len(h["Expires"]) > 0 && !p.targeted:
		return expires(h, answered), true
	case guessable(p, status):
		return guessed(h, answered), false
	}
	return 0, false
}

// expires is what Expires comes to, counted from Date (RFC 9111 §5.3). What is no
// date, or several, is in the past.
func expires(h http.Header, answered time.Time) time.Duration {
	end, ok := dateIn(h, "Expires")
	if !ok {
		return 0
	}
	return min(max(0, end.Sub(dateOf(h, answered))), forever)
}

// guessed is a tenth of the time that an object had not changed for when it was
// sent, which RFC 9111 §4.2.2 calls typical.
func guessed(h http.Header, answered time.Time) time.Duration {
	changed, ok := dateIn(h, "Last-Modified")
	if !ok {
		return 0
	}
	return min(max(0, dateOf(h, answered).Sub(changed)/10), guessLimit)
}

// initialAge is corrected_initial_age (RFC 9111 §4.2.3).
//
// Date has no fractions: what was answered in its second is of that second. Else
// half of a lifetime of a second, as live playlists have it, would be gone at once.
func initialAge(h http.Header, asked, answered time.Time) time.Duration {
	apparent := answered.Truncate(time.Second).Sub(dateOf(h, answered))
	corrected := ageIn(h) + max(0, answered.Sub(asked))
	return min(max(0, apparent, corrected), forever)
}

// ageIn reads Age: the first member, digits only, else there is none (RFC 9111
// §5.1).
func ageIn(h http.Header) time.Duration {
	lines := h["Age"]
	if len(lines) == 0 {
		return 0
	}
	first, _, _ := strings.Cut(lines[0], ",")
	var age time.Duration
	for _, c := range []byte(strings.Trim(first, " \t")) {
		if c < '0' || c > '9' {
			return 0
		}
		age = min(age*10+time.Duration(c-'0'), forever/time.Second)
	}
	return age * time.Second
}

// dateOf is when the origin made an answer, by its clock if it says so.
func dateOf(h http.Header, answered time.Time) time.Time {
	if date, ok := dateIn(h, "Date"); ok {
		return date
	}
	return answered
}

// dateIn reads a field that is one date; it is not ok if it is anything else. name
// is canonical.
func dateIn(h http.Header, name string) (date time.Time, ok bool) { return httpDate(sole(h, name)) }

// sole returns the value of a field of one line, else "".
func sole(h http.Header, name string) string {
	if lines := h[name]; len(lines) == 1 {
		return lines[0]
	}
	return ""
}

// The formats of RFC 9110 §5.6.7, without the zone.
const (
	imfDate    = "Mon, 02 Jan 2006 15:04:05"
	rfc850Date = "Monday, 02-Jan-06 15:04:05"
	ansicDate  = time.ANSIC
)

// httpDate reads a date of RFC 9110 §5.6.7, in any case of letters (RFC 9111 §4.2).
// As package time reads much more than that – an hour of one digit, fractions,
// the wrong day of the week – a date must also come out as it went in.
//
// Years of two digits are those from 1969 to 2068. That is the RFC's "at most 50
// years ahead" but for a few years, which it takes for past ones: too old is safe.
func httpDate(s string) (date time.Time, ok bool) {
	if len(s) < len(ansicDate) { // most often there is none; the error would have to be allocated
		return time.Time{}, false
	}
	layout := ansicDate
	if cut := len(s) - len(" GMT"); strings.EqualFold(s[cut:], " GMT") {
		s, layout = s[:cut], imfDate
		if len(s) != len(imfDate) || s[3] != ',' {
			layout = rfc850Date
		}
	}
	date, err := time.Parse(layout, s)
	if err != nil {
		return time.Time{}, false
	}
	var room [40]byte
	return date, strings.EqualFold(string(date.AppendFormat(room[:0], layout)), s)
}
