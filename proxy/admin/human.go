package admin

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// human writes a number as its key says it is meant: "sent_bytes" as 1.5 MiB,
// "in_bps" as 4 Mbit/s, "up_s" as 2h 5m; any other as it stands.
func human(key string, n json.Number) string {
	f, err := n.Float64()
	if err != nil {
		return n.String()
	}
	switch {
	case strings.HasSuffix(key, "_bytes"):
		return scaled(f, 1024, []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB"})
	case strings.HasSuffix(key, "_bps"):
		return scaled(f, 1000, []string{"bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"})
	case strings.HasSuffix(key, "_s"):
		return span(f)
	default:
		return n.String()
	}
}

// scaled uses the unit in which f has at most four digits before the point.
func scaled(f, step float64, units []string) string {
	i := 0
	for math.Abs(f) >= step && i < len(units)-1 {
		f /= step
		i++
	}
	return short(f) + " " + units[i]
}

// short rounds to three digits, but never digits before the point.
func short(f float64) string {
	if math.Abs(f) >= 100 {
		return strconv.FormatFloat(f, 'f', 0, 64)
	}
	return strconv.FormatFloat(round3(f), 'f', -1, 64)
}

func round3(f float64) float64 {
	r, _ := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 3, 64), 64) // it has just been formatted
	return r
}

// span writes seconds in the two largest units.
func span(f float64) string {
	switch s := int64(f); {
	case f < 0:
		return "-" + span(-f)
	case f > 0 && f < 1:
		return short(f*1000) + " ms"
	case f < 60:
		return short(f) + " s"
	case s < 3600:
		return fmt.Sprintf("%dm %ds", s/60, s%60)
	case s < 86400:
		return fmt.Sprintf("%dh %dm", s/3600, s%3600/60)
	default:
		return fmt.Sprintf("%dd %dh", s/86400, s%86400/3600)
	}
}
